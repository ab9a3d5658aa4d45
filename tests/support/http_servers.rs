//! HTTP servers of known behaviour, on plain sockets: nothing between the test and the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A thread per connection is enough for the 1000 connections of the largest test; a small stack
/// keeps them cheap.
const STACK_BYTES: usize = 128 << 10;

/// A server on a free port of the loopback interface. Dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// What a server does with a connection.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers each request with what the function makes of it.
    Answer(Arc<dyn Fn(&Request) -> Reply + Send + Sync>),
    /// Resets the connection once a request has come.
    Reset,
    /// Says this as soon as there is a connection, and never listens.
    Greet(&'static str),
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
    /// These bytes, then the end of the stream.
    Bytes(String),
    /// These bytes now, then one byte after each pause, for ever.
    Drip(String, Duration),
    /// These bytes, then nothing more in this direction while the other stays open.
    HalfClose(String),
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
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            address,
            ended: Arc::clone(&ended),
            seen: Arc::clone(&seen),
        };
        thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (behaviour, seen) = (behaviour.clone(), Arc::clone(&seen));
                if let Ok(connection) = connection {
                    thread::Builder::new()
                        .stack_size(STACK_BYTES)
                        .spawn(move || serve(connection, &behaviour, &seen))
                        .expect("a thread for a connection");
                }
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

    /// The first thousand requests that came, in order.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no thread of ours panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(connection: TcpStream, behaviour: &Behaviour, seen: &Mutex<Vec<Request>>) {
    let _ = connection.set_nodelay(true);
    let answer = match behaviour {
        Behaviour::Answer(answer) => answer,
        Behaviour::Reset => {
            // Closing a socket with unread data in it resets the connection.
            let _ = connection.peek(&mut [0]);
            return;
        }
        Behaviour::Greet(text) => {
            let _ = (&connection).write_all(text.as_bytes());
            let _ = std::io::copy(&mut &connection, &mut std::io::sink());
            return;
        }
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
        Reply::Bytes(bytes) => {
            let _ = connection.write_all(bytes.as_bytes());
            None
        }
        Reply::Drip(bytes, pause) => {
            connection.write_all(bytes.as_bytes()).ok()?;
            loop {
                thread::sleep(pause);
                connection.write_all(b"x").ok()?;
            }
        }
        Reply::HalfClose(bytes) => {
            connection.write_all(bytes.as_bytes()).ok()?;
            connection.shutdown(Shutdown::Write).ok()?;
            let _ = connection.read(&mut [0; 64]);
            None
        }
    }
}
