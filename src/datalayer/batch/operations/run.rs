//! A run from its start to its end: batch by batch, tried again where that helps, split where a row
//! is at fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, stream};
use sqlx::AssertSqlSafe;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::super::BatchError;
use super::super::memory::MemorySource;
use super::super::pace::Pace;
use super::super::rows::fetch_rows;
use super::super::table::{Column, Value};
use super::super::transaction::in_transaction;
use super::apply::{Applied, Batch, apply, describe};
use super::ledger::{
    self, DeadLetter, Entry, LaidAside, Ledger, RunFilter, RunRecord, RunState, Standing,
};
use super::retry::{Attempted, Trouble, is_transient, persist};
use super::statements::{self, Statement};
use super::work::{Plan, RowSource, Task, Work};
use super::{Cancel, Progress, RunError};
use crate::datalayer::config::BatchSettings;
use crate::datalayer::pool::Pool;

/// Starts and resumes runs on one database, which has the tables of
/// [`ledger_schema`](super::ledger_schema).
#[derive(Clone)]
pub struct Operations {
    pool: Pool,
    settings: BatchSettings,
    memory: Arc<dyn MemorySource>,
}

/// A run under way. It goes on when this is dropped.
#[derive(Debug)]
pub struct Run {
    id: Uuid,
    progress: watch::Receiver<Progress>,
    cancel: Cancel,
    task: JoinHandle<Result<Progress, RunError>>,
}

impl Operations {
    /// Operations through `pool`, paced by `settings` and `memory`.
    pub fn new(pool: Pool, settings: BatchSettings, memory: Arc<dyn MemorySource>) -> Self {
        Self {
            pool,
            settings,
            memory,
        }
    }

    /// Starts a run of `work`. The ledger keeps `actor`, who asked for it, and `spec`, from which the
    /// same work can be made for a resumption.
    ///
    /// # Errors
    /// [`RunError::Work`], and what the database says when the run is entered; nothing is changed
    /// then.
    pub async fn start(&self, work: Work, actor: &str, spec: &str) -> Result<Run, RunError> {
        work.plan.check()?;
        let ledger = Ledger::new(Uuid::now_v7(), actor);
        let cancel = Cancel::new();
        let retry = &self.settings.retry;
        let counted = persist(retry, &cancel, || self.count(&work.plan)).await;
        let standing = Standing {
            // Below every id, and before every row of a source.
            cursor: match work.plan.task {
                Task::Write(_) => 0,
                Task::Change(..) => i64::MIN,
            },
            batches: 0,
            taken: 0,
            changed: 0,
            dead_letters: 0,
            total: counted.outcome?.or(work.total),
        };
        let begin = || async {
            let begun = ledger.begin(&self.pool, &work.plan, spec, &standing);
            begun.await.map_err(RunError::from)
        };
        persist(retry, &cancel, begin).await.outcome?;
        Ok(self.spawn(work, ledger, standing, cancel))
    }

    /// Goes on with a run behind its last committed batch. Whoever had it before stops with
    /// [`RunError::TakenOver`]. `work` must be the same as at its start.
    ///
    /// # Errors
    /// [`RunError::Unknown`], [`RunError::Ended`], [`RunError::OtherWork`], [`RunError::Work`], and
    /// what the database says.
    pub async fn resume(&self, run: Uuid, work: Work, actor: &str) -> Result<Run, RunError> {
        work.plan.check()?;
        let ledger = Ledger::new(run, actor);
        let cancel = Cancel::new();
        let take_over = || ledger.take_over(&self.pool, &work.plan);
        let taken = persist(&self.settings.retry, &cancel, take_over).await;
        let standing = taken.outcome?;
        Ok(self.spawn(work, ledger, standing, cancel))
    }

    /// What the ledger says of a run; none where there is no such run.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn find(&self, run: Uuid) -> Result<Option<RunRecord>, BatchError> {
        ledger::find(&self.pool, run).await
    }

    /// The newest runs that a filter lets through, newest first, `limit` of them at most.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn list(&self, filter: &RunFilter, limit: u64) -> Result<Vec<RunRecord>, BatchError> {
        ledger::list(&self.pool, filter, limit).await
    }

    /// The rows that a run laid aside, `limit` of them at most, in the order of their ids behind `after`;
    /// those of a run that was forgotten are gone.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn laid_aside(
        &self,
        run: Uuid,
        after: i64,
        limit: u64,
    ) -> Result<Vec<LaidAside>, BatchError> {
        ledger::laid_aside(&self.pool, run, after, limit).await
    }

    /// Tells whichever process has a run to end it after its batch. One that gave no sign of life for
    /// `batch.abandoned_after_s` is cancelled at once. Gives the state that it is in then; none where
    /// there is no run that goes on.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn call_off(&self, run: Uuid) -> Result<Option<RunState>, BatchError> {
        let abandoned = Duration::from_secs(self.settings.abandoned_after_s);
        ledger::call_off(&self.pool, run, abandoned).await
    }

    /// Removes the runs, and the rows that they laid aside, that gave no sign of life for
    /// `batch.history_kept_s`, `limit` of them at most; gives how many. What they changed stays in the
    /// audit.
    ///
    /// # Errors
    /// What the pool or the database says.
    pub async fn forget(&self, limit: u64) -> Result<u64, BatchError> {
        let kept = Duration::from_secs(self.settings.history_kept_s);
        ledger::forget(&self.pool, kept, limit).await
    }

    /// How many rows there are to take. None where that takes longer than a statement may: it is told
    /// with the progress, and nothing hangs on it.
    async fn count(&self, plan: &Plan) -> Result<Option<u64>, RunError> {
        let Task::Change(conditions, _) = &plan.task else {
            return Ok(None);
        };
        let Statement { sql, values } = statements::count(plan.table, conditions);
        let what = ("count the rows of", plan.table.name);
        let columns = [Column::integer("count")];
        let counted = fetch_rows(&self.pool, what, AssertSqlSafe(sql), &values, &columns).await;
        let rows = match counted {
            Err(BatchError::Silent { .. }) => return Ok(None),
            counted => counted?,
        };
        Ok(match rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(count)) => u64::try_from(*count).ok(),
            _ => None,
        })
    }

    fn spawn(&self, work: Work, ledger: Ledger, standing: Standing, cancel: Cancel) -> Run {
        let (sender, progress) = watch::channel(Progress::of(RunState::Running, &standing));
        let id = ledger.run;
        let worker = Worker {
            pool: self.pool.clone(),
            settings: self.settings.clone(),
            plan: work.plan,
            ledger,
            before: standing,
            standing,
            progress: sender,
            cancel: cancel.clone(),
            begun: Instant::now(),
            retries: AtomicU64::new(0),
        };
        let pace = Pace::new(&self.settings, Arc::clone(&self.memory));
        Run {
            id,
            progress,
            cancel,
            task: tokio::spawn(worker.run(work.source, pace)),
        }
    }
}

impl Run {
    /// The id of the run, by which it can be resumed.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What tells the run to end after its batch.
    pub fn canceller(&self) -> Cancel {
        self.cancel.clone()
    }

    /// The progress as it stands, and as it changes: with every batch.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// The progress after each batch, as far as the consumer keeps up: who is slower than the batches
    /// sees the last one. The end of the run is the last event.
    pub fn events(&self) -> impl Stream<Item = Progress> + Send + 'static {
        let mut progress = self.progress.clone();
        progress.mark_changed();
        stream::unfold(progress, |mut progress| async move {
            progress.changed().await.ok()?;
            let event = progress.borrow_and_update().clone();
            Some((event, progress))
        })
    }

    /// Waits for the end of the run.
    ///
    /// # Errors
    /// Why it ended before its work was done. A run that was cancelled is no error: see
    /// [`Progress::state`].
    pub async fn finish(self) -> Result<Progress, RunError> {
        self.task
            .await
            .unwrap_or_else(|gone| match gone.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(gone) => Err(RunError::Batch(BatchError::Database {
                    action: "go on with a batch run in",
                    table: "batch_runs",
                    source: sqlx::Error::Io(gone.into()),
                })),
            })
    }
}

struct Worker {
    pool: Pool,
    settings: BatchSettings,
    plan: Plan,
    ledger: Ledger,
    /// At this start.
    before: Standing,
    standing: Standing,
    progress: watch::Sender<Progress>,
    cancel: Cancel,
    begun: Instant,
    retries: AtomicU64,
}

/// What came of the attempts at a batch.
struct Tried {
    outcome: Result<Reached, RunError>,
    attempts: u32,
    /// The last attempt failed at the rows themselves, and not at what is done around them.
    at_rows: bool,
}

/// Where an attempt at a batch got to.
enum Reached {
    /// Its changes are in.
    Committed { changed: u64, dead_letters: u64 },
    /// An earlier attempt whose answer was lost went through, perhaps with more rows than this one has.
    AlreadyIn(Standing),
    /// Nothing was done: the run was told to end through the ledger.
    CalledOff,
}

/// Why the one row of a batch is laid aside.
struct Verdict {
    error: String,
    attempts: u32,
}

impl Worker {
    async fn run(
        mut self,
        source: Option<Box<dyn RowSource>>,
        pace: Pace,
    ) -> Result<Progress, RunError> {
        let worked = self.work(source, pace).await;
        let (state, error) = match &worked {
            Ok(state) => (*state, String::new()),
            Err(error) => (RunState::Failed, chain(error)),
        };
        // Told to end or not, the run has ended.
        let nobody = Cancel::new();
        let end = || async {
            let ended = self.ledger.end(&self.pool, state, &error).await;
            ended.map_err(RunError::from)
        };
        let ended = persist(&self.settings.retry, &nobody, end).await.outcome;
        self.tell(state);
        let run = self.ledger.run;
        match (worked, ended) {
            (Err(failed), ended) => {
                if let Err(unsaid) = ended {
                    tracing::warn!(%run, error = %unsaid, "the ledger does not say that a run failed");
                }
                Err(failed)
            }
            (Ok(_), Err(unsaid)) => Err(unsaid),
            (Ok(_), Ok(())) => Ok(self.progress.borrow().clone()),
        }
    }

    async fn work(
        &mut self,
        mut source: Option<Box<dyn RowSource>>,
        mut pace: Pace,
    ) -> Result<RunState, RunError> {
        loop {
            if self.cancel.is_cancelled() {
                return Ok(RunState::Cancelled);
            }
            let next = self.next(source.as_deref_mut(), pace.rows()).await;
            let Some(batch) = self.unless_cancelled(next)? else {
                return Ok(RunState::Cancelled);
            };
            if batch.len() == 0 {
                return Ok(RunState::Done);
            }
            // What is left of the batch, the next part last.
            let mut parts = vec![batch];
            while let Some(part) = parts.pop() {
                if self.cancel.is_cancelled() {
                    return Ok(RunState::Cancelled);
                }
                let tried = self.try_batch(&part, None).await;
                let reached = match tried.outcome {
                    Ok(reached) => reached,
                    Err(error) if self.is_unmended(&error) => return Ok(RunState::Cancelled),
                    Err(RunError::Batch(error))
                        if tried.at_rows && part.len() > 1 && is_of_fewer(&error) =>
                    {
                        let (first, rest) = part.split();
                        parts.extend([rest, first]);
                        continue;
                    }
                    Err(RunError::Batch(error))
                        if tried.at_rows && Trouble::of(&error) == Trouble::Row =>
                    {
                        let verdict = Verdict {
                            error: chain(&error),
                            attempts: tried.attempts,
                        };
                        let laid_aside = self.try_batch(&part, Some(&verdict)).await.outcome;
                        let Some(reached) = self.unless_cancelled(laid_aside)? else {
                            return Ok(RunState::Cancelled);
                        };
                        reached
                    }
                    Err(error) => return Err(error),
                };
                match reached {
                    Reached::Committed {
                        changed,
                        dead_letters,
                    } => {
                        let standing = Standing {
                            cursor: part.cursor(),
                            batches: self.standing.batches + 1,
                            taken: self.standing.taken + part.len() as u64,
                            changed: self.standing.changed + changed,
                            dead_letters: self.standing.dead_letters + dead_letters,
                            ..self.standing
                        };
                        self.advance(standing)?;
                    }
                    Reached::AlreadyIn(standing) => {
                        // What is in may reach beyond this part, so what is left is read anew.
                        parts.clear();
                        self.advance(standing)?;
                    }
                    Reached::CalledOff => return Ok(RunState::Cancelled),
                }
            }
            pace.step().await?;
        }
    }

    /// An error that nobody tried to mend is none: the run was told to end meanwhile.
    fn is_unmended(&self, error: &RunError) -> bool {
        self.cancel.is_cancelled() && is_transient(error)
    }

    fn unless_cancelled<T>(&self, outcome: Result<T, RunError>) -> Result<Option<T>, RunError> {
        match outcome {
            Err(error) if self.is_unmended(&error) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// The next batch; an empty one at the end.
    async fn next(
        &self,
        source: Option<&mut (dyn RowSource + 'static)>,
        limit: usize,
    ) -> Result<Batch, RunError> {
        match (&self.plan.task, source) {
            (Task::Write(_), Some(source)) => {
                let from = self.standing.cursor as u64;
                let rows = source.rows(from, limit).await;
                let rows = rows.map_err(|source| RunError::Source { from, source })?;
                Ok(Batch::Rows(from, rows))
            }
            (Task::Write(_), None) => Ok(Batch::Rows(0, Vec::new())),
            (Task::Change(conditions, _), _) => {
                let after = self.standing.cursor;
                let Statement { sql, values } =
                    statements::keys(self.plan.table, conditions, after, limit);
                let what = ("read the keys of", self.plan.table.name);
                let columns = [Column::integer("id")];
                let read = || async {
                    let sql = AssertSqlSafe(sql.clone());
                    let rows = fetch_rows(&self.pool, what, sql, &values, &columns).await?;
                    Ok(rows)
                };
                let rows = self.persist(read).await.outcome?;
                let keys = rows.into_iter().flatten().filter_map(|key| match key {
                    Value::Integer(key) => Some(key),
                    Value::Text(_) => None,
                });
                Ok(Batch::Keys(keys.collect()))
            }
        }
    }

    async fn try_batch(&self, batch: &Batch, verdict: Option<&Verdict>) -> Tried {
        let at_rows = AtomicBool::new(false);
        let attempted = self.persist(|| self.attempt(batch, verdict, &at_rows));
        let Attempted { outcome, attempts } = attempted.await;
        Tried {
            outcome,
            attempts,
            at_rows: at_rows.into_inner(),
        }
    }

    async fn persist<T, F>(&self, attempt: impl FnMut() -> F) -> Attempted<T>
    where
        F: Future<Output = Result<T, RunError>>,
    {
        let attempted = persist(&self.settings.retry, &self.cancel, attempt).await;
        let again = u64::from(attempted.attempts.saturating_sub(1));
        self.retries.fetch_add(again, Ordering::Relaxed);
        attempted
    }

    /// One batch in one transaction: its changes or, with a verdict, its one row laid aside. `at_rows`
    /// says whether it failed at these.
    async fn attempt(
        &self,
        batch: &Batch,
        verdict: Option<&Verdict>,
        at_rows: &AtomicBool,
    ) -> Result<Reached, RunError> {
        at_rows.store(false, Ordering::Relaxed);
        let number = self.standing.batches + 1;
        let statement = ("work on a batch of", self.plan.table.name);
        in_transaction(&self.pool, statement, async |transaction| {
            let claimed = self.ledger.claim(transaction).await?;
            if claimed.standing.batches >= number {
                return Ok(Reached::AlreadyIn(claimed.standing));
            }
            if claimed.is_called_off {
                return Ok(Reached::CalledOff);
            }
            at_rows.store(true, Ordering::Relaxed);
            let Applied { changed, dead } = match verdict {
                None => apply(transaction, &self.plan, batch).await?,
                Some(verdict) => {
                    let row = describe(transaction, &self.plan, batch).await?;
                    let dead = row.map(|row| DeadLetter {
                        row,
                        error: verdict.error.clone(),
                        attempts: verdict.attempts,
                    });
                    Applied {
                        changed: 0,
                        dead: dead.into_iter().collect(),
                    }
                }
            };
            at_rows.store(false, Ordering::Relaxed);
            let entry = Entry {
                plan: &self.plan,
                batch: number,
                cursor: batch.cursor(),
                taken: batch.len() as u64,
                changed,
                keys: batch.keys(&self.plan.task),
                dead: &dead,
            };
            self.ledger.record(transaction, &entry).await?;
            Ok(Reached::Committed {
                changed,
                dead_letters: dead.len() as u64,
            })
        })
        .await
    }

    /// Goes on behind what is in.
    fn advance(&mut self, standing: Standing) -> Result<(), RunError> {
        self.standing = standing;
        self.tell(RunState::Running);
        let dead_letters = self.standing.dead_letters - self.before.dead_letters;
        if dead_letters > u64::from(self.settings.dead_letters_max) {
            return Err(RunError::DeadLetters {
                operation: self.plan.operation,
                dead_letters,
            });
        }
        Ok(())
    }

    fn tell(&self, state: RunState) {
        let mut progress = Progress::of(state, &self.standing);
        progress.retries = self.retries.load(Ordering::Relaxed);
        let taken = self.standing.taken - self.before.taken;
        progress.measure(taken, self.begun.elapsed());
        self.progress.send_replace(progress);
    }
}

/// Whether the batch may go through without one of its rows, or in smaller parts.
fn is_of_fewer(error: &BatchError) -> bool {
    matches!(Trouble::of(error), Trouble::Row | Trouble::Contention)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
