//! A way to a server: a proxy that can be cut, make the answers late, hold its connections still, and
//! lead somewhere else.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What one read takes at most.
const PIECE_BYTES: usize = 64 * 1024;

/// The way; it ends with the runtime of its test.
pub(crate) struct Way {
    address: SocketAddr,
    controls: Arc<Controls>,
    traffic: Option<JoinHandle<()>>,
}

struct Controls {
    target: Mutex<SocketAddr>,
    /// Connections made so far.
    made: AtomicU64,
    delay_ms: AtomicU64,
    held: watch::Sender<Held>,
}

/// What does not come through.
#[derive(Clone, Copy)]
struct Held {
    /// The first so many connections are meant.
    connections: u64,
    answers: bool,
}

const NOTHING: Held = Held {
    connections: 0,
    answers: false,
};

impl Way {
    /// A way to the server at this URL, such as `redis://127.0.0.1:6379/` or
    /// `postgres://postgres@127.0.0.1:5432/postgres`.
    pub(crate) async fn to(url: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let controls = Arc::new(Controls {
            target: Mutex::new(address_in(url)?),
            made: AtomicU64::default(),
            delay_ms: AtomicU64::default(),
            held: watch::Sender::new(NOTHING),
        });
        let traffic = Some(tokio::spawn(forward(listener, Arc::clone(&controls))));
        Ok(Self {
            address,
            controls,
            traffic,
        })
    }

    /// Where it begins, as a URL of Redis.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Where it begins, as the URL of a database of PostgreSQL.
    pub(crate) fn database(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address)
    }

    /// Breaks all connections, and takes no more.
    pub(crate) async fn cut(&mut self) {
        if let Some(traffic) = self.traffic.take() {
            traffic.abort();
            // Cancelled is what it is meant to be.
            let _ = traffic.await;
        }
    }

    /// Ends a [`Way::cut`].
    pub(crate) async fn mend(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        let controls = Arc::clone(&self.controls);
        self.traffic = Some(tokio::spawn(forward(listener, controls)));
        Ok(())
    }

    /// From now on every answer comes so much later; what is under way already does not.
    pub(crate) fn delay(&self, delay: Duration) {
        let delay_ms = delay.as_millis() as u64;
        self.controls.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// Holds all connections of this moment: they stay open and nothing comes through, in either
    /// direction. Later ones are free.
    pub(crate) fn hold(&self) {
        self.controls.hold(true);
    }

    /// As [`Way::hold`], of questions; answers still come.
    pub(crate) fn hold_questions(&self) {
        self.controls.hold(false);
    }

    /// Lets everything through that was held.
    pub(crate) fn let_go(&self) {
        self.controls.held.send_replace(NOTHING);
    }

    /// Later connections go to another server.
    pub(crate) fn lead_to(&self, url: &str) -> io::Result<()> {
        let mut target = self.controls.target();
        *target = address_in(url)?;
        Ok(())
    }

    /// Connections made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.controls.made.load(Ordering::SeqCst)
    }
}

impl Controls {
    fn target(&self) -> std::sync::MutexGuard<'_, SocketAddr> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, answers: bool) {
        let connections = self.made.load(Ordering::SeqCst);
        self.held.send_replace(Held {
            connections,
            answers,
        });
    }

    /// Waits until a connection may bring something through.
    async fn is_free(&self, number: u64, is_answer: bool) {
        let free = |held: &Held| number >= held.connections || is_answer && !held.answers;
        let mut held = self.held.subscribe();
        // The sender is in here, so that it cannot have gone.
        let _ = held.wait_for(free).await;
    }
}

fn address_in(url: &str) -> io::Result<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let address = host.rsplit('@').next().unwrap_or_default();
    address.parse().map_err(io::Error::other)
}

async fn forward(listener: TcpListener, controls: Arc<Controls>) {
    // Aborted together with the task that holds them.
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let number = controls.made.fetch_add(1, Ordering::SeqCst);
        connections.spawn(connect(near, number, Arc::clone(&controls)));
    }
}

async fn connect(near: TcpStream, number: u64, controls: Arc<Controls>) -> io::Result<()> {
    let target = *controls.target();
    let far = TcpStream::connect(target).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let questions = carry(from_near, to_far, number, &controls, false);
    let answers = carry(from_far, to_near, number, &controls, true);
    tokio::try_join!(questions, answers).map(drop)
}

/// One direction. What is late does not make what follows later still.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    number: u64,
    controls: &Controls,
    is_answer: bool,
) -> io::Result<()> {
    let (pieces, mut queue) = mpsc::unbounded_channel();
    let reading = async move {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let delay_ms = match is_answer {
                true => controls.delay_ms.load(Ordering::SeqCst),
                false => 0,
            };
            let due = Instant::now() + Duration::from_millis(delay_ms);
            if pieces.send((due, buffer[..length].to_vec())).is_err() {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = queue.recv().await {
            sleep_until(due).await;
            controls.is_free(number, is_answer).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(drop)
}
