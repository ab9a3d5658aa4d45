//! Small values that the tests of this module start from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::clock::LoadClock;
use super::flow::Flow;
use super::job::{Secrets, Shard, WorkerJob};
use super::journey::{End, Journey, Start, User};
use super::recorder::{Measured, Recorder};
use super::transport::Transport;
use crate::harness::engine::Redactor;
use crate::harness::model::{ArrivalModel, LoadMeasurement, RequestSeries, hexadecimal};
use crate::harness::scenario::{
    Arrivals, FilePlan, FlowPlan, HttpPlan, LoadPlan, PhasePlan, RequestPlan, Stage, StepPlan,
};

/// One user that asks for `/` again and again, for a second.
pub(super) fn job(target: &str) -> WorkerJob {
    WorkerJob {
        load: LoadPlan {
            name: "reads".into(),
            flow: "read".into(),
            arrivals: Arrivals::Closed {
                stages: vec![Stage::constant(1_000_000_000, 1.0)],
                share: None,
            },
            seed: 1,
            allowed_dropped: 0.001,
        },
        flow: FlowPlan::new(vec![request().into()]),
        feeds: BTreeMap::new(),
        target: target.into(),
        http: HttpPlan::default(),
        setup: BTreeMap::new(),
        turns: BTreeMap::new(),
        first_iteration: 0,
        aborts: vec![],
        phases: PhasePlan {
            warmup_ns: 0,
            measure_ns: 1_000_000_000,
            cooldown_ns: 0,
            drain_ns: 1_000_000_000,
        },
        secrets: Secrets::default(),
        start_at_ns: 0,
        late_ns: 1_000_000,
        shard: Shard::WHOLE,
        result: PathBuf::from("load.json"),
    }
}

/// What the job above asks for.
pub(super) fn request() -> RequestPlan {
    RequestPlan {
        timeout_ns: 1_000_000_000,
        ..RequestPlan::get("/")
    }
}

/// A file in that folder, as a plan names it.
pub(super) fn file(folder: &Path, name: &str, contents: &[u8]) -> FilePlan {
    let path = folder.join(name);
    std::fs::write(&path, contents).expect("a temporary folder can be written to");
    FilePlan {
        path,
        sha256: hexadecimal(&Sha256::digest(contents)),
    }
}

/// A user on a journey through the flow of the job above, on a site. Everything is measured.
pub(super) struct Trip {
    pub(super) journey: Journey,
    pub(super) user: User,
    /// Of the next iteration.
    pub(super) number: u64,
    pub(super) stop: watch::Sender<bool>,
    pub(super) cut: watch::Sender<bool>,
}

impl Trip {
    /// With another job.
    pub(super) fn new(site: &Site, change: impl FnOnce(&mut WorkerJob)) -> Self {
        let mut job = job(&site.url);
        change(&mut job);
        let flow = Flow::new(&job).expect("it can be compiled");
        let (stop_tx, stop) = watch::channel(false);
        let (cut_tx, cut) = watch::channel(false);
        let transport = Transport::new(&flow.origin, &job.http, None).expect("a plain server");
        let user = User::new(&flow, transport.connection(), 1);
        let always = 0..u64::MAX;
        let redactor = Redactor::default();
        let recorder = Recorder::new(&flow.requests, &flow.groups, always, u64::MAX, redactor);
        let journey = Journey {
            recorder: Arc::new(recorder),
            clock: LoadClock::starting(std::time::Instant::now()),
            end_ns: u64::MAX,
            stop,
            cut,
            flow,
        };
        Self {
            journey,
            user,
            number: 0,
            stop: stop_tx,
            cut: cut_tx,
        }
    }

    /// With other steps.
    pub(super) fn of_steps(site: &Site, steps: Vec<StepPlan>) -> Self {
        Self::new(site, |job| job.flow.steps = steps)
    }

    /// An iteration of a closed model.
    pub(super) async fn iterate(&mut self) -> End {
        let taken_ns = self.journey.clock.now_ns();
        self.iterate_from(None, taken_ns).await
    }

    /// An iteration of any model.
    pub(super) async fn iterate_from(&mut self, due_ns: Option<u64>, taken_ns: u64) -> End {
        let start = Start {
            number: self.number,
            due_ns,
            taken_ns,
        };
        self.number += 1;
        self.journey.iterate(&mut self.user, start).await
    }

    /// What was measured; everything that began has ended.
    pub(super) fn finish(self) -> Measured {
        let in_flight = self.journey.recorder.look().in_flight;
        assert_eq!(in_flight, 0);
        self.journey.recorder.finish().0
    }
}

/// A measurement of the job above in which nothing has happened yet.
pub(super) fn measurement() -> LoadMeasurement {
    LoadMeasurement {
        requests: vec![RequestSeries::new("GET /")],
        ..LoadMeasurement::new("reads", "read", ArrivalModel::Closed)
    }
}

/// A server that answers each request with what a function makes of it. It ends with the test's
/// runtime.
pub(super) struct Site {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

/// Makes an answer of a request, which is its whole text, and of its number from 0. An empty answer
/// closes the connection.
type Answer = dyn Fn(&str, usize) -> String + Send + Sync;

impl Site {
    pub(super) async fn start(
        answer: impl Fn(&str, usize) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let of_all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&of_all)));
            }
        });
        Self {
            url: format!("http://{address}"),
            seen,
        }
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no thread of ours panics").clone()
    }

    /// The first lines of the requests so far, without the version.
    pub(super) fn lines(&self) -> Vec<String> {
        let seen = self.seen();
        let lines = seen
            .iter()
            .filter_map(|request| request.split(" HTTP/1.1").next());
        lines.map(str::to_owned).collect()
    }
}

/// A whole answer with more headers, each with its line's end.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// What a header of a request says.
pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

async fn serve(stream: TcpStream, answer: Arc<Answer>, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            if stream.read_line(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length = header(&request, "content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        request.push_str(&String::from_utf8_lossy(&body));
        let number = {
            let mut seen = seen.lock().expect("no thread of ours panics");
            seen.push(request.clone());
            seen.len() - 1
        };
        let answer = answer(&request, number);
        if answer.is_empty() || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
