//! The steps of a flow as a program: a flat list that a user goes through with a few jumps. What is
//! nested in a scenario costs a user no memory and no future of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::distr::weighted::{self, WeightedIndex};
use url::Url;

use super::check::{CheckError, Checks};
use super::condition::{Condition, ConditionError};
use super::expect::Expect;
use super::feed::Feed;
use super::files::FileError;
use super::flow::FlowError;
use super::job::Secrets;
use super::request::{Prepared, RequestError};
use super::template::{Compiled, Names, Place, TemplateError};
use super::think::Think;
use super::transport::Keep;
use crate::harness::scenario::{
    BranchPlan, ConditionPlan, ExpectPlan, ExtractPlan, OpenPlan, RequestPlan, RetryPlan, StepPlan,
    StreamKind, ThinkPlan, TimesPlan,
};

/// What a user does next. Places to go on at are indices of the list; its length is the end.
#[derive(Debug)]
pub(super) enum Op {
    Request(Box<RequestOp>),
    Open(Box<OpenOp>),
    Send(Box<SendOp>),
    Expect(Box<ExpectOp>),
    Close,
    Pause(Think),
    /// By the index of its name.
    GroupBegin(usize),
    /// Of the group that began last.
    GroupEnd,
    RepeatBegin {
        /// The index of the counter of passes that are left.
        counter: usize,
        times: TimesPlan,
    },
    RepeatEnd {
        counter: usize,
        /// The first step of the next pass.
        back: usize,
        until: Option<Until>,
    },
    /// To the steps after those that the condition is for.
    JumpUnless {
        condition: Condition,
        to: usize,
    },
    Jump(usize),
    Choose {
        weights: WeightedIndex<f64>,
        to: Vec<usize>,
    },
}

/// A request with its checks and extractions.
#[derive(Debug)]
pub(super) struct RequestOp {
    /// The index of its name; requests of one name are counted together.
    pub(super) name: usize,
    pub(super) prepared: Prepared,
    pub(super) checks: Checks,
    pub(super) timeout: Duration,
    /// What of the body the checks look at.
    pub(super) keep: Keep,
    /// Whether it is another in each iteration.
    pub(super) is_filled: bool,
    /// What is done where the first answer is not the last; `None` where it always is.
    pub(super) policy: Option<Policy>,
    /// Whether only pauses follow, so that the iteration ends with its answer.
    pub(super) is_last: bool,
}

/// When a request is sent on, or once more.
#[derive(Debug)]
pub(super) struct Policy {
    /// How many redirects are followed at most, in each attempt.
    pub(super) redirects: u32,
    pub(super) retry: Option<RetryPlan>,
}

/// A stream that is opened.
#[derive(Debug)]
pub(super) struct OpenOp {
    pub(super) name: usize,
    pub(super) kind: StreamKind,
    pub(super) prepared: Prepared,
    pub(super) timeout: Duration,
}

/// A message that is sent.
#[derive(Debug)]
pub(super) struct SendOp {
    /// The name of the stream that was opened before it in the file, under which its failures count.
    pub(super) stream: usize,
    pub(super) text: Compiled,
}

/// Messages that are waited for.
#[derive(Debug)]
pub(super) struct ExpectOp {
    pub(super) name: usize,
    pub(super) expect: Expect,
}

/// What a loop waits for.
#[derive(Debug)]
pub(super) struct Until {
    pub(super) condition: Condition,
    /// The name of the request under which it counts when that never came: the last one of the loop
    /// in the order of the file, whose answer did not bring it.
    pub(super) blamed: usize,
}

/// Why a step could not be compiled. A plan that was validated has almost none of these; a file can
/// have changed, and a variable of the environment can be missing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum StepError {
    /// It can't become a request.
    Request(#[from] RequestError),
    /// A check or an extraction of it.
    Check(#[from] CheckError),
    /// Its condition.
    Condition(#[from] ConditionError),
    /// A text of it.
    Template(#[from] TemplateError),
    /// A file that it names.
    File(#[from] FileError),
    /// Its branches.
    Weights(#[from] weighted::Error),
}

/// What steps are compiled with.
pub(super) struct Surroundings<'a> {
    pub(super) origin: &'a Url,
    pub(super) feeds: &'a [Feed],
    pub(super) setup: &'a BTreeMap<String, String>,
    pub(super) secrets: &'a Secrets,
    /// The request names, each once.
    pub(super) requests: &'a [String],
    /// The names of groups, each once.
    pub(super) groups: &'a [String],
}

/// A compiled list of steps.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    /// The names of the values that steps extract, in the order of their indices.
    pub(super) extracted: Vec<String>,
    /// How many counters its loops need.
    pub(super) counters: usize,
    /// Whether something in it follows from the number of the iteration.
    pub(super) has_values: bool,
}

impl Program {
    /// Compiles steps in the order of the file: each sees what those before it extract.
    pub(super) fn new(steps: &[StepPlan], around: &Surroundings<'_>) -> Result<Self, FlowError> {
        let mut compiler = Compiler {
            around,
            program: Self::default(),
            request: None,
            stream: None,
        };
        compiler.steps(steps)?;
        let mut program = compiler.program;
        program.has_values |= !program.extracted.is_empty();
        let pauses = program.ops.iter().rev();
        let pauses = pauses.take_while(|op| matches!(op, Op::Pause(_))).count();
        if let Some(last) = program.ops.len().checked_sub(pauses + 1)
            && let Op::Request(request) = &mut program.ops[last]
        {
            request.is_last = true;
        }
        Ok(program)
    }

    /// Whether an iteration may send a second request, to which a cookie of the first would belong.
    pub(super) fn may_send_twice(&self) -> bool {
        let sends = |op: &&Op| matches!(op, Op::Request(_) | Op::Open(_));
        let repeats = |op: &Op| match op {
            Op::RepeatEnd { .. } => true,
            Op::Request(request) => request.policy.is_some(),
            _ => false,
        };
        self.ops.iter().filter(sends).count() > 1 || self.ops.iter().any(repeats)
    }
}

struct Compiler<'a> {
    around: &'a Surroundings<'a>,
    program: Program,
    /// The name of the last request so far.
    request: Option<usize>,
    /// The name of the stream that was opened last.
    stream: Option<usize>,
}

impl Compiler<'_> {
    fn steps(&mut self, steps: &[StepPlan]) -> Result<(), FlowError> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &StepPlan) -> Result<(), FlowError> {
        match step {
            StepPlan::Request(plan) => self.request(plan).map_err(in_step(&plan.name)),
            StepPlan::Open(plan) => self.open(plan).map_err(in_step(&plan.name)),
            StepPlan::Send(text) => {
                let text = Compiled::new(text, Place::Plain, &self.names());
                let text = text.map_err(|error| in_step("send")(error.into()))?;
                self.program.has_values |= text.literal().is_none();
                let stream = self.stream.or(self.request).unwrap_or_default();
                self.add(Op::Send(Box::new(SendOp { stream, text })));
                Ok(())
            }
            StepPlan::Expect(plan) => self.expect(plan).map_err(in_step(&plan.name)),
            StepPlan::Close => {
                self.add(Op::Close);
                Ok(())
            }
            StepPlan::Think(plan) => self.pause(plan).map_err(in_step("think")),
            StepPlan::Group { name, steps } => {
                let index = index_of(self.around.groups, name);
                self.add(Op::GroupBegin(index));
                self.steps(steps)?;
                self.add(Op::GroupEnd);
                Ok(())
            }
            StepPlan::Repeat {
                times,
                until,
                steps,
            } => self.repeat(*times, until.as_ref(), steps),
            StepPlan::If {
                condition,
                then,
                otherwise,
            } => self.choose_by(condition, then, otherwise),
            StepPlan::Choose(branches) => self.choose(branches),
        }
    }

    fn request(&mut self, plan: &RequestPlan) -> Result<(), StepError> {
        let prepared = Prepared::new(
            &plan.method,
            &plan.address,
            plan.body.as_ref(),
            self.around.origin,
            &self.names(),
        )?;
        let checks = Checks::new(&plan.check, self.extracted(&plan.extract).into_iter())?;
        let is_filled = prepared.is_filled();
        self.program.has_values |= is_filled || checks.is_random();
        let has_policy = plan.redirects > 0 || plan.retry.is_some();
        let name = self.named(&plan.name);
        self.add(Op::Request(Box::new(RequestOp {
            name,
            prepared,
            keep: checks.keep(),
            checks,
            timeout: Duration::from_nanos(plan.timeout_ns),
            is_filled,
            policy: has_policy.then(|| Policy {
                redirects: plan.redirects,
                retry: plan.retry.clone(),
            }),
            is_last: false,
        })));
        match &plan.think {
            Some(think) => self.pause(think),
            None => Ok(()),
        }
    }

    fn open(&mut self, plan: &OpenPlan) -> Result<(), StepError> {
        let names = self.names();
        let prepared = Prepared::new("GET", &plan.address, None, self.around.origin, &names)?;
        self.program.has_values |= prepared.is_filled();
        let name = self.named(&plan.name);
        self.stream = Some(name);
        self.add(Op::Open(Box::new(OpenOp {
            name,
            kind: plan.kind,
            prepared,
            timeout: Duration::from_nanos(plan.timeout_ns),
        })));
        Ok(())
    }

    fn expect(&mut self, plan: &ExpectPlan) -> Result<(), StepError> {
        let expect = Expect::new(plan, self.extracted(&plan.extract).into_iter())?;
        self.program.has_values |= expect.is_random();
        let name = self.named(&plan.name);
        self.add(Op::Expect(Box::new(ExpectOp { name, expect })));
        Ok(())
    }

    fn pause(&mut self, plan: &ThinkPlan) -> Result<(), StepError> {
        let think = Think::new(plan)?;
        self.program.has_values |= think.is_random();
        self.add(Op::Pause(think));
        Ok(())
    }

    fn repeat(
        &mut self,
        times: TimesPlan,
        until: Option<&ConditionPlan>,
        steps: &[StepPlan],
    ) -> Result<(), FlowError> {
        let counter = self.program.counters;
        self.program.counters += 1;
        self.program.has_values |= times.min != times.max;
        self.add(Op::RepeatBegin { counter, times });
        let back = self.program.ops.len();
        self.steps(steps)?;
        // It is looked at after a pass, so it sees what the pass extracts.
        let until = match until {
            None => None,
            Some(plan) => Some(Until {
                condition: self.condition(plan).map_err(in_step("repeat"))?,
                blamed: self.request.unwrap_or_default(),
            }),
        };
        self.add(Op::RepeatEnd {
            counter,
            back,
            until,
        });
        Ok(())
    }

    fn choose_by(
        &mut self,
        condition: &ConditionPlan,
        then: &[StepPlan],
        otherwise: &[StepPlan],
    ) -> Result<(), FlowError> {
        let condition = self.condition(condition).map_err(in_step("if"))?;
        let unless = self.add(Op::JumpUnless { condition, to: 0 });
        self.steps(then)?;
        let over = (!otherwise.is_empty()).then(|| self.add(Op::Jump(0)));
        self.come_here(unless);
        self.steps(otherwise)?;
        over.into_iter().for_each(|over| self.come_here(over));
        Ok(())
    }

    fn choose(&mut self, branches: &[BranchPlan]) -> Result<(), FlowError> {
        let weights = WeightedIndex::new(branches.iter().map(|branch| branch.weight));
        let weights = weights.map_err(|error| in_step("choice")(error.into()))?;
        self.program.has_values = true;
        let choice = self.add(Op::Choose {
            weights,
            to: Vec::new(),
        });
        let mut ends = Vec::with_capacity(branches.len());
        for branch in branches {
            self.come_here(choice);
            self.steps(&branch.steps)?;
            ends.push(self.add(Op::Jump(0)));
        }
        ends.into_iter().for_each(|end| self.come_here(end));
        Ok(())
    }

    fn condition(&mut self, plan: &ConditionPlan) -> Result<Condition, StepError> {
        self.program.has_values = true;
        Ok(Condition::new(plan, &self.names())?)
    }

    /// What names mean in the step that is compiled now.
    fn names(&self) -> Names<'_> {
        Names {
            feeds: self.around.feeds,
            extracted: &self.program.extracted,
            setup: self.around.setup,
            secrets: self.around.secrets,
        }
    }

    /// The values that a step extracts, by their indices. From here on names mean them too.
    fn extracted<'plan>(
        &mut self,
        plan: &'plan BTreeMap<String, ExtractPlan>,
    ) -> Vec<(usize, &'plan ExtractPlan)> {
        let known = &mut self.program.extracted;
        let extracted = plan.iter().map(|(name, plan)| {
            let index = known.iter().position(|known| known == name);
            let index = index.unwrap_or_else(|| {
                known.push(name.clone());
                known.len() - 1
            });
            (index, plan)
        });
        extracted.collect()
    }

    /// The index of a request's name, which is now the last one.
    fn named(&mut self, name: &str) -> usize {
        let index = index_of(self.around.requests, name);
        self.request = Some(index);
        index
    }

    /// The place of what is added.
    fn add(&mut self, op: Op) -> usize {
        self.program.ops.push(op);
        self.program.ops.len() - 1
    }

    /// Makes a jump lead to what is added next; a choice gets one more way.
    fn come_here(&mut self, from: usize) {
        let here = self.program.ops.len();
        match &mut self.program.ops[from] {
            Op::Jump(to) | Op::JumpUnless { to, .. } => *to = here,
            Op::Choose { to, .. } => to.push(here),
            other => unreachable!("BUG: {other:?} leads nowhere"),
        }
    }
}

/// Names the step in which an error is.
fn in_step(name: &str) -> impl Fn(StepError) -> FlowError {
    move |error| FlowError::Step {
        step: name.to_owned(),
        error,
    }
}

/// The index of a name in a list that was made of the same flow.
fn index_of(names: &[String], name: &str) -> usize {
    let index = names.iter().position(|known| known == name);
    index.expect("BUG: a flow has names that it doesn't list")
}
