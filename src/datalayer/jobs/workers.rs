//! The workers of one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::JobError;
use super::job::Queue;
use super::queue::Jobs;
use super::run::{Handler, run};

/// Runs the jobs of a queue, as many at once as its settings say. Dropping it breaks all of them off;
/// their leases then run out.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<Option<Instant>>,
    tasks: JoinSet<()>,
    grace: Duration,
}

/// One process's part.
struct Dispatcher {
    jobs: Jobs,
    handler: Arc<dyn Handler>,
    /// Free workers of each queue.
    free: [(Queue, Arc<Semaphore>); Queue::ALL.len()],
    runs: JoinSet<()>,
    stop: watch::Receiver<Option<Instant>>,
}

impl Workers {
    /// Starts them.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(jobs: Jobs, handler: Arc<dyn Handler>) -> Self {
        let (stop, told) = watch::channel(None);
        let grace = Duration::from_millis(jobs.settings().stop_grace_ms);
        let free = Queue::ALL.map(|queue| (queue, Arc::new(Semaphore::new(jobs.workers(queue)))));
        let dispatcher = Dispatcher {
            jobs,
            handler,
            free,
            runs: JoinSet::new(),
            stop: told,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(dispatcher.work());
        Self { stop, tasks, grace }
    }

    /// Claims nothing any more, lets what runs end within `jobs.stop_grace_ms`, and gives back what has
    /// not ended then.
    pub async fn stop(mut self) {
        let deadline = Instant::now() + self.grace;
        self.stop.send_replace(Some(deadline));
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Dispatcher {
    async fn work(mut self) {
        let pause = Duration::from_millis(self.jobs.settings().poll_ms);
        let mut stop = self.stop.clone();
        let mut looked = Instant::now();
        loop {
            // Who waits for an answer comes first, though not for ever.
            if !self.jobs.pool().has_room() && looked.elapsed() < self.jobs.lease() {
                tokio::select! {
                    _ = stop.wait_for(Option::is_some) => break,
                    () = sleep(pause) => continue,
                }
            }
            looked = Instant::now();
            let claimed = tokio::select! {
                _ = stop.wait_for(Option::is_some) => break,
                due = self.jobs.due() => due,
            };
            // Not dropped by a stop: a job between its claim and its run would wait for the end of its lease.
            let claimed = match claimed {
                Ok(due) => self.claim_all(due.queues, due.orphans).await,
                Err(error) => Err(error),
            };
            if let Err(error) = claimed {
                tracing::debug!(%error, "no job could be claimed");
            }
            tokio::select! {
                _ = stop.wait_for(Option::is_some) => break,
                () = self.jobs.woken() => {}
                // Its place is free.
                Some(_) = self.runs.join_next() => {}
                () = sleep(pause) => {}
            }
        }
        while self.runs.join_next().await.is_some() {}
    }

    /// Claims what is due in some queues, as far as workers are free.
    async fn claim_all(&mut self, queues: Vec<Queue>, orphans: bool) -> Result<(), JobError> {
        if orphans {
            self.jobs.recover().await?;
        }
        for (queue, free) in &self.free {
            if !queues.contains(queue) {
                continue;
            }
            while let Ok(place) = Arc::clone(free).try_acquire_owned() {
                let claimed = Instant::now();
                let Some(job) = self.jobs.claim(*queue).await? else {
                    break;
                };
                let (jobs, handler) = (self.jobs.clone(), Arc::clone(&self.handler));
                let stop = self.stop.clone();
                self.runs.spawn(async move {
                    run(jobs, handler, job, claimed, stop).await;
                    drop(place);
                });
            }
        }
        Ok(())
    }
}
