//! Running scenarios: blocks, in which every contender runs once.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::contender::About;
use super::context;
use super::fault::Fault;
use super::model::{Disturbance, Measurement, Process, Report, SCHEMA_VERSION, ScenarioRun};
use super::process::{Executor, Trial, Watch};
use super::progress::Progress;
use super::scenarios::{self, Scenario};
use super::summary;
use super::targets::targets;
use super::workload::{LabRng, shuffled};

/// How much time a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// A few seconds: shows that it runs, measures nothing worth citing.
    Smoke,
    /// Under a minute.
    Quick,
    /// Under ten minutes.
    Default,
    /// Under an hour.
    Full,
}

impl Scale {
    /// All of them.
    pub const ALL: [Scale; 4] = [Scale::Smoke, Scale::Quick, Scale::Default, Scale::Full];

    /// The name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Quick => "quick",
            Scale::Default => "default",
            Scale::Full => "full",
        }
    }
}

impl Scale {
    /// After so long no block is begun any more, whatever the scenarios have had.
    pub const fn limit(self) -> Option<Duration> {
        match self {
            Scale::Quick => Some(Duration::from_secs(50)),
            Scale::Default => Some(Duration::from_secs(580)),
            Scale::Full => Some(Duration::from_secs(3_500)),
            Scale::Smoke => None,
        }
    }

    /// Whether a run that has taken so long begins another block.
    fn goes_on(self, elapsed: Duration) -> bool {
        self.limit().is_none_or(|limit| elapsed < limit)
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(name: &str) -> Result<Scale, String> {
        Scale::ALL
            .into_iter()
            .find(|scale| scale.name() == name)
            .ok_or_else(|| format!("no scale is called `{name}`"))
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For how long.
    pub scale: Scale,
    /// From which all that is random is made.
    pub seed: u64,
    /// Names of scenarios; empty for all.
    pub scenarios: Vec<String>,
    /// Ids of contenders; empty for all. What they are compared with runs, too.
    pub stores: Vec<String>,
    /// Numbers of threads, for the scenarios that compare several; empty for
    /// their own.
    pub threads: Vec<usize>,
    /// The global allocator of the program.
    pub allocator: &'static str,
    /// What was typed.
    pub command: String,
}

impl Settings {
    /// Whether a contender takes part.
    pub fn wants(&self, id: &str) -> bool {
        self.stores.is_empty() || self.stores.iter().any(|store| store == id)
    }

    /// The scenarios to run.
    pub fn scenarios(&self) -> impl Iterator<Item = &'static dyn Scenario> {
        let chosen = |scenario: &&dyn Scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name())
        };
        scenarios::ALL.iter().copied().filter(chosen)
    }

    /// Who takes part in a scenario: whom the user wants, and in any case what
    /// they are compared with and the measures.
    pub fn entrants(&self, scenario: &dyn Scenario) -> Vec<About> {
        let reference = scenario.reference();
        let mut entrants = scenario.entrants();
        entrants.retain(|about| *about == *reference || !about.is_store() || self.wants(about.id));
        entrants
    }
}

/// A block whose processes had more than this share of the machine taken from
/// them, by its host or by other programs, is disturbed.
pub const DISTURBED: f64 = 0.1;

/// How many blocks of a scenario may be repeated: one in so many of those that it
/// is to have.
const REPEATS: usize = 3;

/// The rule by which blocks are repeated, in words.
pub(super) fn rule() -> String {
    format!(
        "A block in which the host or other programs took more than {:.0} % of the machine from any \
         of its processes is run once more, and the quieter of the two counts; at most one block \
         in {REPEATS} of each scenario, and none in a quick run. Nothing else, and no result, decides over a repetition. \
         A quick run begins no block after 50 s, a default one none after 580 s, and a full one none \
         after 3,500 s.",
        DISTURBED * 100.0
    )
}

/// What a scenario has come to.
struct Progressed<'a> {
    scenario: &'a dyn Scenario,
    entrants: Vec<About>,
    spent: Duration,
    blocks: usize,
    repeated: usize,
    disturbed: usize,
    over: bool,
}

impl<'a> Progressed<'a> {
    fn new(scenario: &'a dyn Scenario, settings: &Settings) -> Progressed<'a> {
        Progressed {
            scenario,
            entrants: settings.entrants(scenario),
            spent: Duration::ZERO,
            blocks: 0,
            repeated: 0,
            disturbed: 0,
            over: false,
        }
    }

    fn told(&self) -> ScenarioRun {
        ScenarioRun {
            name: self.scenario.name().into(),
            about: self.scenario.about().into(),
            method: self.scenario.method().into(),
            reference: self.scenario.reference().name.into(),
            blocks: self.blocks,
            repeated: self.repeated,
            disturbed: self.disturbed,
            seconds: self.spent.as_secs_f64(),
        }
    }
}

/// Runs the blocks of all scenarios by turns, so that each is spread over the
/// whole run, and sums up what they measured. A run that is broken off, of which
/// the executor tells, sums up the blocks that are whole.
///
/// # Errors
///
/// Where a store did not do what it was to do: then its times mean nothing.
pub fn run(settings: &Settings, executor: &dyn Executor) -> Result<Report, Fault> {
    let (report, fault) = run_to_fault(settings, executor);
    fault.map_or(Ok(report), Err)
}

/// As [`run`], but keeps what had been measured when something went wrong: the
/// blocks that were whole by then, in a report that is partial and names the fault
/// among its methods.
pub fn run_to_fault(settings: &Settings, executor: &dyn Executor) -> (Report, Option<Fault>) {
    let begun = Instant::now();
    let mut fault = None;
    let mut context = context::context(settings);
    let mut results = Vec::new();
    let mut processes = Vec::new();
    let mut under_way: Vec<Progressed<'_>> = settings
        .scenarios()
        .map(|scenario| Progressed::new(scenario, settings))
        .collect();
    let efforts = under_way
        .iter()
        .map(|own| own.scenario.effort(settings.scale));
    let progress = Progress::new(efforts.collect(), settings.scale.limit());
    'run: for block in 0.. {
        if under_way.iter().all(|own| own.over) {
            break;
        }
        for (at, own) in under_way.iter_mut().enumerate() {
            let effort = own.scenario.effort(settings.scale);
            own.over |= effort.is_over(block, own.spent);
            if own.over {
                progress.done(at);
                continue;
            }
            if !settings.scale.goes_on(begun.elapsed()) {
                // Scenarios that had no block at all are missing.
                context.partial |= block == 0;
                break 'run;
            }
            let started = Instant::now();
            let mut turn = Turn {
                settings,
                executor,
                progress: &progress,
                begun,
                block,
            };
            let Some(mut first) = whole(turn.block(at, own), &mut fault) else {
                context.partial = true;
                break 'run;
            };
            let repeats = effort.blocks.div_ceil(REPEATS);
            if first.disturbance() > DISTURBED
                && own.repeated < repeats
                && settings.scale > Scale::Quick
            {
                let Some(mut second) = whole(turn.block(at, own), &mut fault) else {
                    context.partial = true;
                    break 'run;
                };
                own.repeated += 1;
                if second.disturbance() <= first.disturbance() {
                    std::mem::swap(&mut first, &mut second);
                }
                processes.extend(second.processes.into_iter().map(|process| Process {
                    repeated: true,
                    ..process
                }));
            }
            own.disturbed += usize::from(first.disturbance() > DISTURBED);
            own.blocks += 1;
            own.spent += started.elapsed();
            progress.block(at, own.blocks, own.spent);
            processes.extend(first.processes);
            results.extend(first.results);
        }
    }
    progress.finish();
    if let Some(fault) = &fault {
        let said = format!("This report is partial, because the run failed: {fault}");
        context.method.insert(0, said);
    }
    context.scenarios = under_way.iter().map(Progressed::told).collect();
    context.machine.load_after = context::load();
    let noise = summary::noise(settings.seed, &results);
    let summary = summary::summarise(settings.seed, &results, &noise);
    let targets = targets(&summary, context.machine.cores);
    context.seconds = begun.elapsed().as_secs_f64();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        context,
        processes,
        results,
        summary,
        noise,
        targets,
    };
    (report, fault)
}

/// A block that is whole; what went wrong is put aside.
fn whole(done: Result<Option<Block>, Fault>, fault: &mut Option<Fault>) -> Option<Block> {
    done.unwrap_or_else(|why| {
        *fault = Some(why);
        None
    })
}

/// A block of a scenario.
struct Turn<'a> {
    settings: &'a Settings,
    executor: &'a dyn Executor,
    progress: &'a Progress,
    begun: Instant,
    block: usize,
}

/// What came of it.
#[derive(Default)]
struct Block {
    processes: Vec<Process>,
    results: Vec<Measurement>,
}

impl Block {
    /// The worst that happened to one of its processes.
    fn disturbance(&self) -> f64 {
        let known = self
            .processes
            .iter()
            .filter_map(|process| process.disturbance);
        known.map(Disturbance::share).fold(0.0, f64::max)
    }
}

impl Turn<'_> {
    /// Runs every contender once, and the reference twice, in random order; `None`
    /// where the run was broken off.
    fn block(&mut self, at: usize, own: &Progressed<'_>) -> Result<Option<Block>, Fault> {
        let reference = own.scenario.reference();
        let mut runs: Vec<(&About, usize)> = own.entrants.iter().map(|about| (about, 0)).collect();
        runs.push((reference, 1));
        let mut rng: LabRng = self
            .trial(own.scenario, reference)
            .rng("order of contenders");
        let mut block = Block::default();
        for place in shuffled(runs.len(), &mut rng) {
            let (about, replica) = runs[place];
            self.progress
                .process(at, own.scenario.name(), self.block, about.id);
            let started = self.begun.elapsed();
            let watch = Watch::begin();
            let trial = self.trial(own.scenario, about);
            let Some(answer) = self.executor.run(&trial)? else {
                return Ok(None);
            };
            let (voluntary, involuntary) = answer.switches.unzip();
            block.processes.push(Process {
                scenario: own.scenario.name().into(),
                store: about.name.into(),
                block: self.block,
                replica,
                started: started.as_secs_f64(),
                seconds: watch.elapsed().as_secs_f64(),
                disturbance: watch.end(),
                voluntary_switches: voluntary,
                involuntary_switches: involuntary,
                repeated: false,
            });
            block
                .results
                .extend(answer.results.into_iter().map(|sample| Measurement {
                    block: self.block,
                    replica,
                    ..sample
                }));
        }
        Ok(Some(block))
    }

    fn trial(&self, scenario: &dyn Scenario, about: &About) -> Trial {
        Trial {
            scenario: scenario.name().into(),
            store: about.id.into(),
            scale: self.settings.scale,
            seed: self.settings.seed,
            block: self.block,
            threads: self.settings.threads.clone(),
        }
    }
}

/// The places of all scenarios in their order.
pub(super) fn places() -> HashMap<&'static str, usize> {
    let scenarios = scenarios::ALL.iter().enumerate();
    scenarios
        .map(|(at, scenario)| (scenario.name(), at))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::process::{Answer, InProcess};
    use super::*;

    /// Measures, until it has done so often enough.
    struct Failing(Cell<usize>);

    impl Executor for Failing {
        fn run(&self, trial: &Trial) -> Result<Option<Answer>, Fault> {
            self.0.set(self.0.get().saturating_sub(1));
            if self.0.get() == 0 {
                return Err(Fault::Measuring("a store went astray".into()));
            }
            InProcess.run(trial)
        }
    }

    #[test]
    fn what_was_measured_before_a_fault_is_kept_and_the_fault_is_named() {
        let settings = Settings {
            scale: Scale::Smoke,
            seed: 1,
            scenarios: vec!["sustained".into()],
            stores: vec!["thread-safe".into()],
            threads: vec![1],
            allocator: "",
            command: String::new(),
        };
        // A block is the null store, and the reference twice.
        let (report, fault) = run_to_fault(&settings, &Failing(Cell::new(6)));
        assert_eq!(fault.unwrap().to_string(), "a store went astray");
        assert!(report.context.partial && report.context.method[0].contains("went astray"));
        assert_eq!(report.context.scenarios[0].blocks, 1);
        assert!(report.results.iter().all(|sample| sample.block == 0));
        assert!(!report.results.is_empty());
        let failed = run(&settings, &Failing(Cell::new(6)));
        assert!(matches!(failed, Err(Fault::Measuring(_))));
        let (report, fault) = run_to_fault(&settings, &Failing(Cell::new(99)));
        assert!(fault.is_none() && !report.context.partial);
    }

    #[test]
    fn every_run_but_the_smallest_has_a_hard_stop() {
        let going = |seconds| Scale::ALL.map(|scale| scale.goes_on(Duration::from_secs(seconds)));
        assert_eq!(going(49), [true; 4]);
        assert_eq!(going(50), [true, false, true, true]);
        assert_eq!(going(580), [true, false, false, true]);
        assert_eq!(going(3_500), [true, false, false, false]);
    }
}
