//! The target of `generator.py` and `stall.py`: answers every GET over HTTP/1.1 with 200 bytes, a thread a
//! connection. Nothing but the standard library, so that `rustc -O` compiles it in a second.
//!
//! ```text
//! server                 prints its port, a free one of 127.0.0.1
//! server STALL EVERY     stands still for STALL ms every EVERY ms, the first time at its start
//! ```

use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const BODY: [u8; 200] = [b'x'; 200];
/// Thousands of connections, each with a thread, are cheap with a small stack.
const STACK_BYTES: usize = 64 << 10;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Until when requests wait that come at a time.
#[derive(Clone, Copy)]
struct Stalls {
    start: Instant,
    length: Duration,
    every: Duration,
}

fn main() -> io::Result<()> {
    let mut numbers = env::args().skip(1).map(|word| word.parse::<u64>());
    let stalls = match (numbers.next(), numbers.next()) {
        (Some(Ok(length)), Some(Ok(every))) => Some(Stalls {
            start: Instant::now(),
            length: Duration::from_millis(length),
            every: Duration::from_millis(every),
        }),
        (None, None) => None,
        _ => return Err(io::Error::other("usage: server [STALL_MS EVERY_MS]")),
    };
    let answer = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n".as_slice(),
        &BODY,
    ]
    .concat();
    let answer: &'static [u8] = answer.leak();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let connection = connection?;
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || serve(connection, answer, stalls))?;
    }
    Ok(())
}

/// Until the client closes the connection, or sends something else than GETs.
fn serve(mut connection: TcpStream, answer: &[u8], stalls: Option<Stalls>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; MAX_HEAD_BYTES];
    let mut filled = 0;
    loop {
        let read = connection.read(&mut buffer[filled..])?;
        filled += read;
        if read == 0 {
            return Ok(());
        }
        // One request at a time is what all the clients send, so the end of a head is the end of what
        // was read.
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if let Some(stalls) = stalls {
                thread::sleep(stalls.left());
            }
            connection.write_all(answer)?;
        }
    }
}

impl Stalls {
    fn left(&self) -> Duration {
        let into = self.start.elapsed().as_nanos() % self.every.as_nanos();
        self.length
            .saturating_sub(Duration::from_nanos(into as u64))
    }
}
