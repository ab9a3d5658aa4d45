#!/bin/sh
# A PostgreSQL for one run of a scenario:
#   postgres.sh init DIR          makes an empty cluster in DIR/data
#   postgres.sh start DIR PORT    serves it on 127.0.0.1:PORT until SIGTERM
# The database is `postgres`, its user `postgres`, without a password. Nothing survives the run, so
# nothing is synced to disk. PostgreSQL refuses to run as root: as root, the user `postgres` that the
# distribution's package makes runs it.
set -eu

find_bin() {
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
        if [ -x "$folder/initdb" ]; then
            echo "$folder"
            return
        fi
    done
    if command -v initdb >/dev/null 2>&1; then
        dirname "$(command -v initdb)"
        return
    fi
    echo "postgres.sh: no PostgreSQL here; install it (apt-get install postgresql)" >&2
    exit 1
}

bin=$(find_bin)
dir=$2
as=
if [ "$(id -u)" = 0 ]; then
    if ! id postgres >/dev/null 2>&1; then
        echo "postgres.sh: running as root needs a user \`postgres\` to run the server" >&2
        exit 1
    fi
    as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi

case $1 in
init)
    mkdir -p "$dir/data"
    [ -z "$as" ] || chown postgres: "$dir" "$dir/data"
    cd "$dir/data"
    exec $as "$bin/initdb" --pgdata "$dir/data" --username=postgres --auth=trust \
        --encoding=UTF8 --locale=C --no-sync
    ;;
start)
    cd "$dir/data"
    $as "$bin/postgres" -D "$dir/data" -k "" -h 127.0.0.1 -p "$3" \
        -c fsync=off -c full_page_writes=off -c max_connections=100 &
    server=$!
    # SIGTERM would wait for every client to leave; SIGINT ends their sessions.
    trap 'kill -INT $server 2>/dev/null' TERM INT
    wait $server && status=0 || status=$?
    # The trap ends the first wait before the server has ended.
    while kill -0 $server 2>/dev/null; do
        wait $server && status=0 || status=$?
    done
    exit $status
    ;;
*)
    echo "usage: postgres.sh init DIR | start DIR PORT" >&2
    exit 2
    ;;
esac
