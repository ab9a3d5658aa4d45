//! Waits until a process is ready.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::output::Output;
use crate::harness::engine::http;
use crate::harness::scenario::Ready;

/// How often a process is asked.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Waits until the process on `port` is ready.
///
/// # Errors
/// What was waited for and what came instead, as a clause, when `limit` has passed.
pub(super) async fn wait(
    ready: &Ready,
    port: u16,
    output: &Output,
    client: &reqwest::Client,
    limit: Duration,
) -> Result<(), String> {
    let mut last = "nothing was asked yet".to_owned();
    let waiting = async {
        match ready {
            Ready::Started => {}
            Ready::Log(_) => output.ready().await,
            Ready::Tcp => {
                while let Err(error) = connect(port).await {
                    last = error;
                    sleep(ASK_EVERY).await;
                }
            }
            Ready::Http(path) => {
                let url = format!("http://127.0.0.1:{port}{path}");
                while let Err(error) = ask(client, &url).await {
                    last = error;
                    sleep(ASK_EVERY).await;
                }
            }
        }
    };
    let in_time = timeout(limit, waiting).await.is_ok();
    match ready {
        _ if in_time => Ok(()),
        Ready::Started => Ok(()),
        Ready::Log(pattern) => Err(format!("no line of its output matches `{pattern}`")),
        Ready::Tcp => Err(format!("no connection to port {port}: {last}")),
        Ready::Http(path) => Err(format!("`GET {path}` on port {port}: {last}")),
    }
}

async fn connect(port: u16) -> Result<(), String> {
    match timeout(
        ANSWER_WITHIN,
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
    )
    .await
    {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

async fn ask(client: &reqwest::Client, url: &str) -> Result<(), String> {
    match client.get(url).timeout(ANSWER_WITHIN).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("status {}", answer.status())),
        Err(error) => Err(http::cause(&error)),
    }
}
