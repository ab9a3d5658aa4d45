//! The messages of a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};

use super::exchange::{MAX_KEPT_BYTES, within};
use super::failure::Failure;
use super::stream::Message;
use crate::harness::model::ErrorKind;

/// How long the other side may take to answer that it closes.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// The buffers of a connection: there may be thousands.
const BUFFER_BYTES: usize = 8 << 10;
/// What a message that waits to be looked at costs apart from its text.
const MESSAGE_BYTES: usize = 128;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// An open WebSocket. A task of its own reads it, so that pings are answered while the user thinks;
/// it ends with this.
#[derive(Debug)]
pub(crate) struct WebSocket {
    sink: SplitSink<Socket, tungstenite::Message>,
    inbox: mpsc::UnboundedReceiver<Arrived>,
    /// How long a message may take to be sent.
    timeout: Duration,
}

/// What the reading task has read, with the room that it takes.
type Arrived = (Result<Message, Failure>, Option<OwnedSemaphorePermit>);

impl WebSocket {
    /// What a connection has become.
    pub(super) async fn new(upgraded: Upgraded, timeout: Duration) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_KEPT_BYTES))
            .max_frame_size(Some(MAX_KEPT_BYTES));
        let io = TokioIo::new(upgraded);
        let socket = Socket::from_raw_socket(io, Role::Client, Some(config)).await;
        let (sink, stream) = socket.split();
        let (sender, inbox) = mpsc::unbounded_channel();
        tokio::spawn(listen(stream, sender));
        Self {
            sink,
            inbox,
            timeout,
        }
    }

    /// Sends a text message.
    pub(super) async fn send(&mut self, text: String) -> Result<(), Failure> {
        let sent = self.sink.send(tungstenite::Message::text(text));
        let sent = async { sent.await.map_err(|error| broken(&error)) };
        within(self.timeout, "the message could not be sent", sent).await
    }

    /// The next message; `None` where the server has closed.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        match self.inbox.recv().await {
            None => Ok(None),
            Some((arrived, _room)) => arrived.map(Some),
        }
    }

    /// Says that it closes and waits for the server to say so too, which ends the inbox.
    pub(super) async fn close(mut self) {
        let closed = async {
            if self
                .sink
                .send(tungstenite::Message::Close(None))
                .await
                .is_ok()
            {
                while self.inbox.recv().await.is_some() {}
            }
        };
        let _ = tokio::time::timeout(CLOSE_LIMIT, closed).await;
    }
}

/// Reads messages for as long as somebody may want them. Those that wait to be looked at may take so
/// much room; then no more is read, and the server feels it.
async fn listen(mut socket: SplitStream<Socket>, inbox: mpsc::UnboundedSender<Arrived>) {
    let room = Arc::new(Semaphore::new(MAX_KEPT_BYTES + MESSAGE_BYTES));
    let heard = async {
        // A ping is answered when the next message is asked for.
        while let Some(read) = socket.next().await {
            let text = match read {
                Ok(tungstenite::Message::Text(text)) => text.as_str().to_owned(),
                Ok(tungstenite::Message::Binary(bytes)) => {
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                Ok(tungstenite::Message::Close(_)) => return,
                Ok(_) => continue,
                Err(error) => {
                    let _ = inbox.send((Err(broken(&error)), None));
                    return;
                }
            };
            // Replacement characters can make a text longer than its bytes were.
            let cost = text.len().min(MAX_KEPT_BYTES) + MESSAGE_BYTES;
            let room = Arc::clone(&room).acquire_many_owned(cost as u32).await.ok();
            let message = Message { event: None, text };
            let _ = inbox.send((Ok(message), room));
        }
    };
    tokio::select! {
        () = heard => {}
        () = inbox.closed() => return,
    }
    drop(inbox);
    // The server hears that we have heard, and then it is its turn to end the connection.
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    let _ = tokio::time::timeout(CLOSE_LIMIT, ended).await;
}

fn broken(error: &Error) -> Failure {
    match error {
        Error::Io(error) => Failure::broken(error),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => Failure::new(ErrorKind::Closed, "the server closed the WebSocket"),
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => Failure::new(
            ErrorKind::Protocol,
            format!("a message has {size} bytes; only {max_size} can be looked at"),
        ),
        other => Failure::of(ErrorKind::Protocol, other),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tungstenite::Message as Frame;
    use tungstenite::protocol::CloseFrame;
    use tungstenite::protocol::frame::coding::CloseCode;

    use super::super::exchange::Answer;
    use super::super::fixture::{get, listen};
    use super::super::stream::Stream;
    use super::super::target::Transport;
    use super::*;
    use crate::harness::scenario::{HttpPlan, StreamKind};

    type Served = WebSocketStream<TcpStream>;

    /// A stream to a server that does this.
    async fn open<F>(serve: impl FnOnce(Served) -> F + Send + 'static) -> Stream
    where
        F: Future<Output = ()> + Send,
    {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            serve(socket).await;
        });
        let transport = Transport::new(&url, &HttpPlan::default(), None).unwrap();
        let mut answer = Answer::default();
        let mut connection = transport.connection();
        let opened = connection.open(StreamKind::WebSocket, get("/live"), &mut answer);
        let stream = opened.await.unwrap();
        assert_eq!(answer.status, Some(101));
        assert!(answer.timings.first_byte_ns.is_some());
        stream
    }

    async fn text(stream: &mut Stream) -> String {
        let message = stream.next().await.unwrap().unwrap();
        assert_eq!(message.event, None);
        message.text
    }

    #[tokio::test]
    async fn messages_go_both_ways() {
        let mut stream = open(|mut socket| async move {
            while let Some(Ok(frame)) = socket.next().await {
                if frame.is_text() {
                    socket.send(frame).await.unwrap();
                }
            }
        })
        .await;
        for said in ["a", "", "ü", &"b".repeat(1 << 20)] {
            stream.send(said.to_owned()).await.unwrap();
            assert!(text(&mut stream).await == said);
        }
        let began = Instant::now();
        stream.close().await;
        assert!(began.elapsed() < CLOSE_LIMIT);
    }

    #[tokio::test]
    async fn what_is_no_text_is_shown_as_far_as_it_is() {
        let mut stream = open(|mut socket| async move {
            let bytes = Frame::Binary(b"a\xffb".to_vec().into());
            socket.send(bytes).await.unwrap();
            std::future::pending().await
        })
        .await;
        assert_eq!(text(&mut stream).await, "a\u{fffd}b");
    }

    #[tokio::test]
    async fn a_ping_is_answered_while_the_user_thinks() {
        let (sender, answered) = oneshot::channel();
        let _stream = open(|mut socket| async move {
            socket.send(Frame::Ping("a".into())).await.unwrap();
            let pong = socket.next().await.unwrap().unwrap();
            sender.send(pong).unwrap();
            std::future::pending().await
        })
        .await;
        let limit = Duration::from_secs(10);
        let pong = tokio::time::timeout(limit, answered).await.unwrap();
        assert_eq!(pong.unwrap(), Frame::Pong("a".into()));
    }

    #[tokio::test]
    async fn the_end_is_told_from_a_cut() {
        let mut stream = open(|mut socket| async move {
            socket.send(Frame::text("a")).await.unwrap();
            let away = CloseFrame {
                code: CloseCode::Away,
                reason: "".into(),
            };
            socket.close(Some(away)).await.unwrap();
            while socket.next().await.is_some() {}
        })
        .await;
        assert_eq!(text(&mut stream).await, "a");
        assert!(matches!(stream.next().await, Ok(None)));

        let mut stream = open(|mut socket| async move {
            socket.send(Frame::text("a")).await.unwrap();
        })
        .await;
        assert_eq!(text(&mut stream).await, "a");
        let failure = stream.next().await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Closed);
        assert!(matches!(stream.next().await, Ok(None)));
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_fails() {
        let mut stream = open(|mut socket| async move {
            let large = Frame::text("a".repeat(MAX_KEPT_BYTES + 1));
            let _ = socket.send(large).await;
            std::future::pending().await
        })
        .await;
        let failure = stream.next().await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn messages_that_nobody_looks_at_are_held_back_not_lost() {
        const MESSAGES: usize = 100;
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let mut stream = open(move |mut socket| async move {
            let large = "a".repeat(1 << 20);
            for _ in 0..MESSAGES {
                socket.send(Frame::text(large.as_str())).await.unwrap();
                counter.fetch_add(1, Ordering::Relaxed);
            }
            std::future::pending().await
        })
        .await;
        // Until the server gets no more rid of.
        let mut before = usize::MAX;
        while before != sent.load(Ordering::Relaxed) {
            before = sent.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(
            (MAX_KEPT_BYTES >> 20..MESSAGES).contains(&before),
            "{before}"
        );
        for _ in 0..MESSAGES {
            assert_eq!(text(&mut stream).await.len(), 1 << 20);
        }
    }

    #[tokio::test]
    async fn a_server_that_reads_nothing_is_not_waited_for() {
        let mut stream = open(|socket| async move {
            std::future::pending::<()>().await;
            drop(socket);
        })
        .await;
        let Stream::WebSocket(socket) = &mut stream else {
            unreachable!("a WebSocket was opened")
        };
        socket.timeout = Duration::from_millis(200);
        let failure = stream.send("a".repeat(64 << 20)).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Timeout);
        let began = Instant::now();
        stream.close().await;
        assert!(began.elapsed() < 2 * CLOSE_LIMIT);
    }
}
