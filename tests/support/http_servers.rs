//! HTTP servers of known behaviour, on plain sockets: nothing between the test and the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A thread per connection is enough for the 1000 connections of the largest test; a small stack
/// keeps them cheap.
const STACK_BYTES: usize = 256 << 10;

/// A server on a free port of the loopback interface. Dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// What a server makes of a request.
type Answering = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// What a server does with a connection.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers each request with what the function makes of it.
    Answer(Answering),
    /// Says this before any request has come, then answers each with what the function makes of it.
    Early(&'static str, Answering),
    /// Says this as soon as there is a connection, and never listens.
    Greet(&'static str),
    /// Does this with the connection.
    Other(Arc<dyn Fn(&TcpStream) + Send + Sync>),
}

/// What becomes of the connections that a server with a limit does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nobody listens any more.
    Refused,
    /// They wait in a queue of the kernel that holds two, and outside of it.
    Waiting,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// In lower case: `name: value`.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// What is written back.
pub(crate) enum Reply {
    /// A whole answer; the connection stays open.
    Answer {
        status: u16,
        headers: String,
        body: String,
    },
    /// One after the other; then, unless the last one ended it, the connection stays open.
    Acts(Vec<Act>),
}

/// What a server does when a request has come.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes after each pause, until nobody takes them any more.
    Repeat(Duration, Bytes),
    /// Waits.
    Pause(Duration),
    /// Says nothing more, and keeps the connection open as long as the client does.
    Hold,
    /// Ends this direction, and keeps the other open as long as the client does.
    HalfClose,
    /// Closes the connection.
    Close,
    /// Resets the connection (`SO_LINGER` of no time).
    Reset,
}

impl Act {
    /// Sends this.
    pub(crate) fn send(bytes: impl Into<Bytes>) -> Self {
        Self::Send(bytes.into())
    }
}

/// A whole answer with status 200.
pub(crate) fn ok(body: &str) -> Reply {
    Reply::Answer {
        status: 200,
        headers: String::new(),
        body: body.to_owned(),
    }
}

/// Returns after `length`, neither before nor noticeably later: a sleep alone is late by the
/// timer's slack.
pub(crate) fn precise_sleep(length: Duration) {
    let until = Instant::now() + length;
    thread::sleep(length.saturating_sub(Duration::from_micros(200)));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

impl Server {
    /// A server that answers with what `answer` makes of a request.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Behaviour::Answer(Arc::new(answer)))
    }

    /// A server of that behaviour.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::listening(listener, behaviour, usize::MAX, Rest::Refused)
    }

    /// A server that accepts so many connections at most, and answers on them with `answer`.
    pub(crate) fn accepting(
        most: usize,
        rest: Rest,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = with_a_short_queue().expect("a free port");
        Self::listening(listener, Behaviour::Answer(Arc::new(answer)), most, rest)
    }

    fn listening(listener: TcpListener, behaviour: Behaviour, most: usize, rest: Rest) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Self {
            address,
            ended: Arc::clone(&ended),
            connections: Arc::clone(&connections),
            seen: Arc::clone(&seen),
        };
        thread::spawn(move || {
            for connection in listener.incoming().take(most) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (behaviour, seen) = (behaviour.clone(), Arc::clone(&seen));
                if let Ok(connection) = connection {
                    connections.fetch_add(1, Ordering::SeqCst);
                    thread::Builder::new()
                        .stack_size(STACK_BYTES)
                        .spawn(move || serve(connection, &behaviour, &seen))
                        .expect("a thread for a connection");
                }
            }
            while rest == Rest::Waiting && !ended.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The first thousand requests that came, in order.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no thread of ours panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection. Where the queue is full there is none.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(100));
    }
}

impl Request {
    /// Where it was sent to: path and query.
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// A socket that listens with the shortest queue that there is: the standard library asks for a long
/// one.
fn with_a_short_queue() -> std::io::Result<TcpListener> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(1)?.into_std()?;
    listener.set_nonblocking(false)?;
    Ok(listener)
}

fn serve(connection: TcpStream, behaviour: &Behaviour, seen: &Mutex<Vec<Request>>) {
    let _ = connection.set_nodelay(true);
    let answer = match behaviour {
        Behaviour::Answer(answer) => answer,
        Behaviour::Early(text, answer) => {
            let _ = (&connection).write_all(text.as_bytes());
            answer
        }
        Behaviour::Greet(text) => {
            let _ = (&connection).write_all(text.as_bytes());
            let _ = std::io::copy(&mut &connection, &mut std::io::sink());
            return;
        }
        Behaviour::Other(serve) => return serve(&connection),
    };
    let mut reader = BufReader::new(&connection);
    while let Some(request) = read(&mut reader) {
        let reply = answer(&request);
        {
            let mut seen = seen.lock().expect("no thread of ours panics");
            if seen.len() < 1000 {
                seen.push(request);
            }
        }
        if write(&connection, reply).is_none() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    let mut headers = Vec::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end() {
            "" => break,
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
    let length = headers
        .iter()
        .find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// `None` where the connection is at its end.
fn write(mut connection: &TcpStream, reply: Reply) -> Option<()> {
    match reply {
        Reply::Answer {
            status,
            headers,
            body,
        } => {
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
            connection.write_all(answer.as_bytes()).ok()
        }
        Reply::Acts(acts) => perform(connection, acts),
    }
}

/// Does one after the other; `None` where the connection is at its end.
pub(crate) fn perform(
    mut connection: &TcpStream,
    acts: impl IntoIterator<Item = Act>,
) -> Option<()> {
    for act in acts {
        match act {
            Act::Send(bytes) => connection.write_all(&bytes).ok()?,
            Act::Repeat(pause, bytes) => loop {
                thread::sleep(pause);
                connection.write_all(&bytes).ok()?;
            },
            Act::Pause(length) => thread::sleep(length),
            Act::Hold => return drained(connection),
            Act::HalfClose => {
                connection.shutdown(Shutdown::Write).ok()?;
                return drained(connection);
            }
            Act::Close => return None,
            Act::Reset => {
                forget_at_close(connection).expect("a TCP socket");
                return None;
            }
        }
    }
    Some(())
}

/// Reads until the client has closed the connection.
fn drained(mut connection: &TcpStream) -> Option<()> {
    let _ = std::io::copy(&mut connection, &mut std::io::sink());
    None
}

/// Makes the close of this connection a reset. The standard library can't say it yet, so it is said by
/// way of tokio; the option belongs to the socket and not to the clone.
fn forget_at_close(connection: &TcpStream) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _inside = runtime.enter();
    connection.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(connection.try_clone()?)?.set_zero_linger()
}
