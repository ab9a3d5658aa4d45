#!/bin/sh
# Makes the certificates of tests/hostile_tls.rs anew: an authority whose key is thrown away, and what it
# signed for one key: a certificate for this machine, one that expired in 2020, and one for another name.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
key "$work/ca-key.pem"
key key.pem
openssl req -x509 -new -key "$work/ca-key.pem" -days 36500 -subj "/CN=Plimsoll test authority" -out ca.pem
openssl req -new -key key.pem -subj "/CN=Plimsoll test server" -out "$work/request.pem"

cat >"$work/ca.conf" <<END
[ca]
default_ca = here
[here]
database = $work/index.txt
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[here_names]
subjectAltName = IP:127.0.0.1, DNS:localhost
[elsewhere_names]
subjectAltName = DNS:elsewhere.example
END
: >"$work/index.txt"

# sign FILE NAMES FROM TO
sign() {
    openssl ca -batch -notext -config "$work/ca.conf" -cert ca.pem -keyfile "$work/ca-key.pem" \
        -in "$work/request.pem" -extensions "$2" -startdate "$3" -enddate "$4" -out "$1"
}
sign valid.pem here_names 20200101000000Z 21200101000000Z
sign elsewhere.pem elsewhere_names 20200101000000Z 21200101000000Z
sign expired.pem here_names 20200101000000Z 20200102000000Z
