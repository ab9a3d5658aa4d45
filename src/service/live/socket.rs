//! One WebSocket from its beginning to its end.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use super::request::{Problem, Request};
use crate::datalayer::config::LiveSettings;
use crate::datalayer::live::{Delivery, Ending, Subscription};
use crate::service::app::App;

/// One part in so many of the drain time is for a client to answer that it closes.
const CLOSE_SHARE: u32 = 4;

/// How a conversation came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client closed it.
    Gone,
    /// The client answers nothing, or takes nothing: nothing can be said to it.
    Lost,
    /// It is closed, for this reason.
    Close(u16, &'static str),
}

struct Connection {
    app: Arc<App>,
    /// Whose messages are counted together.
    user: String,
    subscription: Subscription,
    socket: WebSocket,
    /// When the client will have said nothing, and been told nothing, for too long.
    idle_at: Instant,
    /// Until when the client has to answer a ping.
    pong_by: Option<Instant>,
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(
    app: Arc<App>,
    user: String,
    subscription: Subscription,
    socket: WebSocket,
) {
    let mut connection = Connection {
        idle_at: Instant::now() + Duration::from_millis(app.settings.live.idle_ms),
        app,
        user,
        subscription,
        socket,
        pong_by: None,
    };
    let end = connection.talk().await;
    tracing::debug!(?end, "a live connection ended");
    connection.close(end).await;
}

impl Connection {
    async fn talk(&mut self) -> End {
        let mut ending = pin!(self.subscription.ending());
        let every = Duration::from_millis(self.settings().ping_ms);
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let silent_at = self.pong_by.map_or(self.idle_at, |by| by.min(self.idle_at));
            let done = tokio::select! {
                ending = &mut ending => Err(End::from(ending)),
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => self.hear(message, ending.as_mut()).await,
                    Some(Err(error)) => Err(End::from_error(error)),
                    None => Err(End::Gone),
                },
                delivery = self.subscription.next() => match delivery {
                    Some(delivery) => self.deliver(&delivery, ending.as_mut()).await,
                    None => Err(End::from(ending.as_mut().await)),
                },
                _ = pings.tick() => self.ping(ending.as_mut()).await,
                () = sleep_until(silent_at) => Err(self.silence()),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn hear(
        &mut self,
        message: Message,
        ending: Pin<&mut impl Future<Output = Ending>>,
    ) -> Result<(), End> {
        if matches!(message, Message::Close(_)) {
            return Err(End::Gone);
        }
        let answers_ping = matches!(message, Message::Pong(_)) && self.pong_by.take().is_some();
        // Whatever else comes takes work, so that it counts.
        if !answers_ping && !self.app.live.admits(&self.user) {
            let limit = self.settings().messages_per_min;
            let message = format!("more than {limit} messages a minute");
            let problem = Problem::new("rate_limited", message);
            self.send(Message::text(problem.json()), ending).await?;
            return Err(End::Close(close_code::POLICY, "too many messages"));
        }
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(_) => "",
            _ => return Ok(()),
        };
        self.stay();
        let answer = match Request::read(text) {
            Ok(request) => self.obey(request).await,
            Err(problem) => Some(problem.json()),
        };
        match answer {
            Some(answer) => self.send(Message::text(answer), ending).await,
            None => Ok(()),
        }
    }

    /// Does what the client wants, and says what the hub does not say itself.
    async fn obey(&mut self, request: Request) -> Option<String> {
        match request {
            Request::Join(rooms, None) => self.subscription.join(rooms).await,
            Request::Join(rooms, Some(after)) => {
                let resumed = self.subscription.resume(rooms, &after).await;
                let problem = |error: &dyn std::error::Error| {
                    Problem::new("not_first", error.to_string()).json()
                };
                return resumed.err().map(|error| problem(&error));
            }
            Request::Leave(room) => {
                self.subscription.leave(&room);
                return Some(serde_json::json!({ "left": room }).to_string());
            }
        }
        None
    }

    async fn deliver(
        &mut self,
        delivery: &Delivery,
        ending: Pin<&mut impl Future<Output = Ending>>,
    ) -> Result<(), End> {
        let text = Utf8Bytes::try_from(delivery.text.clone());
        let text = text.map_err(|_| End::Close(close_code::ERROR, "no text"))?;
        self.send(Message::Text(text), ending).await?;
        self.subscription.handed_over(delivery);
        self.stay();
        Ok(())
    }

    async fn ping(&mut self, ending: Pin<&mut impl Future<Output = Ending>>) -> Result<(), End> {
        if self.pong_by.is_none() {
            self.send(Message::Ping(bytes::Bytes::new()), ending)
                .await?;
            self.pong_by = Some(Instant::now() + self.patience());
        }
        Ok(())
    }

    /// Sends a message, unless the client takes nothing any more.
    async fn send(
        &mut self,
        message: Message,
        ending: Pin<&mut impl Future<Output = Ending>>,
    ) -> Result<(), End> {
        let patience = self.patience();
        tokio::select! {
            sent = timeout(patience, self.socket.send(message)) => match sent {
                Ok(sent) => sent.map_err(|_| End::Lost),
                Err(_) => Err(End::from(Ending::Slow)),
            },
            ending = ending => Err(End::from(ending)),
        }
    }

    /// Says why, if there is a reason to say, and waits a moment for the client to close too.
    async fn close(mut self, end: End) {
        if end == End::Lost {
            return;
        }
        let drain = self.app.settings.service.drain_timeout();
        let patience = self.patience().min(drain / CLOSE_SHARE);
        let closing = async {
            if let End::Close(code, reason) = end {
                let reason = Utf8Bytes::from_static(reason);
                let frame = Message::Close(Some(CloseFrame { code, reason }));
                self.socket.send(frame).await?;
            }
            while let Some(message) = self.socket.recv().await {
                message?;
            }
            Ok::<(), axum::Error>(())
        };
        // Whoever does not answer in time is gone.
        let _ = timeout(patience, closing).await;
    }

    /// What it means that the client was silent for so long.
    fn silence(&self) -> End {
        match self.pong_by {
            Some(by) if by <= Instant::now() => End::Lost,
            _ => End::Close(close_code::NORMAL, "idle"),
        }
    }

    fn stay(&mut self) {
        self.idle_at = Instant::now() + Duration::from_millis(self.settings().idle_ms);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.settings().peer_timeout_ms)
    }

    fn settings(&self) -> &LiveSettings {
        &self.app.settings.live
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Slow => Self::Close(close_code::AGAIN, "too slow"),
            Ending::Closing => Self::Close(close_code::AWAY, "the service stops"),
        }
    }
}

impl End {
    fn from_error(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(_)) => {
                Self::Close(close_code::SIZE, "the message is too large")
            }
            Some(tungstenite::Error::Protocol(_)) => {
                Self::Close(close_code::PROTOCOL, "this is no WebSocket")
            }
            Some(tungstenite::Error::Utf8(_)) => Self::Close(close_code::INVALID, "no UTF-8"),
            _ => Self::Gone,
        }
    }
}
