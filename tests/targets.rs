//! Servers that others wrote, in other languages, as targets: the scenario starts each, loads it in both
//! models at once, and passes.

mod support;

use std::env;
use std::path::Path;

use plimsoll::harness::model::ArrivalModel;
use serde_json::Value;

use support::Tested;
use support::loads::check_arithmetic;
use support::project::{BUSY, Project};

/// nginx with nothing of the machine's configuration: `nginx.sh PORT DIR`. Where it may write, it is told
/// for each of its parts that it was built with.
const NGINX: &str = r#"
set -eu
port=$1 dir=$2
temp=""
for part in proxy fastcgi uwsgi scgi; do
    nginx -V 2>&1 | grep -q -- "--without-http_${part}_module" || temp="$temp ${part}_temp_path $dir/$part;"
done
cat >"$dir/nginx.conf" <<END
daemon off;
worker_processes 1;
error_log stderr;
pid $dir/nginx.pid;
events { }
http {
    access_log off;
    client_body_temp_path $dir/body;$temp
    server {
        listen 127.0.0.1:$port;
        location / { return 200 "ok"; }
    }
}
END
exec nginx -e stderr -p "$dir" -c "$dir/nginx.conf"
"#;

const NODE: &str = r#"
const answer = (request, response) => response.end("ok");
require("http").createServer(answer).listen(Number(process.argv[2]), "127.0.0.1");
"#;

#[test]
fn nginx_is_a_target() -> Tested {
    needs("nginx", "nginx-light")?;
    let project = Project::new()?;
    project.write("nginx.sh", NGINX)?;
    // Debian's is where only the administrator looks.
    let path = env::var("PATH")? + ":/usr/sbin";
    passes(&project.with_env("PATH", &path), "sh nginx.sh {port} {dir}")
}

#[test]
fn a_node_server_is_a_target() -> Tested {
    needs("node", "nodejs")?;
    let project = Project::new()?;
    project.write("server.js", NODE)?;
    passes(&project, "node server.js {port}")
}

#[test]
fn a_python_server_is_a_target() -> Tested {
    needs("python3", "python3")?;
    let project = Project::new()?;
    project.write_server("server")?;
    passes(&project, "python3 server.py {port}")
}

fn passes(project: &Project, start: &str) -> Tested {
    let text = format!(
        r#"schema = 1
name = "target"
[[process]]
name = "web"
start = "{start}"
ready = {{ http = "/" }}
target = true
[[flow.home.step]]
get = "/"
check = {{ status = 200, body_contains = "ok" }}
think = "10ms"
[load.arriving]
open = {{ rate = "100/s", max_in_flight = 50 }}
allowed_dropped = "5%"
[load.staying]
closed = {{ users = 4 }}
{BUSY}
[phases]
warmup = "1s"
measure = "3s"
[[gate]]
metric = "load.arriving.p50"
max = "5s"
"#
    );
    project.write("target.toml", &text)?;
    let (verdict, _, run) = project.run("target.toml", &[0])?;
    let verdict: Value = serde_json::from_str(&verdict)?;
    assert_eq!(verdict["verdict"], "pass", "{verdict}");
    assert_eq!(run.measurement.loads.len(), 2);
    for load in &run.measurement.loads {
        check_arithmetic(load);
        let counts = &load.counts;
        assert_eq!(counts.completed, counts.started, "{counts:?}");
        match load.model {
            ArrivalModel::Open => assert_eq!(counts.offered, 300),
            // Four users who wait 10 ms at least, on a machine that has other things to do.
            ArrivalModel::Closed => assert!((20..=1200).contains(&counts.completed), "{counts:?}"),
        }
    }
    let memory = run.metric("process.web.rss_max");
    let memory_bytes = memory.and_then(|metric| metric.value());
    assert!(memory_bytes > Some(500_000.0), "{memory_bytes:?}");
    Ok(())
}

/// An error that names the package where the program is not here.
fn needs(program: &str, package: &str) -> Tested {
    let path = env::var("PATH")? + ":/usr/sbin";
    let is_here = path
        .split(':')
        .any(|folder| Path::new(folder).join(program).is_file());
    if is_here {
        return Ok(());
    }
    Err(format!("no {program} here: install the package `{package}`").into())
}
