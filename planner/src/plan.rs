//! The validated plan. Its fields are private: whoever holds a [`Plan`] knows that its steps exist, that their order
//! is acyclic, and that no group has to wait for itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::globs::Glob;
use crate::graph::{Edge, EdgeKind, Graph};
use crate::id::{GroupId, StepId};
use crate::step::{RuleSource, Step, Work};

/// A plan that can be run.
#[derive(Clone, Debug)]
pub struct Plan {
    settings: Settings,
    steps: Vec<Step>,
    /// By id; nothing is seen of its order.
    index: HashMap<StepId, usize>,
    members: BTreeMap<GroupId, Vec<usize>>,
    graph: Graph,
}

/// All of a plan but its steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) task: String,
    pub(crate) target: Option<String>,
    pub(crate) checks: Option<Vec<Check>>,
    pub(crate) setup: Option<Setup>,
    pub(crate) checkout: Checkout,
    pub(crate) limits: Limits,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) discard: Vec<Glob>,
    pub(crate) generated: Vec<Generated>,
    pub(crate) commit: CommitStyle,
    pub(crate) notify: Option<Notify>,
}

/// A command that must pass on the exact tree that lands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name, unique in the plan.
    pub name: String,
    /// The command for `sh -c`.
    pub run: String,
    /// When it runs.
    pub at: At,
    /// It runs only when one of these changed; empty is always.
    pub paths: Vec<Glob>,
    /// Bound in milliseconds.
    pub timeout_ms: u64,
    /// Variables for the command.
    pub env: BTreeMap<String, String>,
}

/// When a check runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// On every step's commit.
    Step,
    /// On every landing.
    #[default]
    Land,
    /// Once, after all steps, before the target moves.
    Final,
}

impl At {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Land => "land",
            Self::Final => "final",
        }
    }
}

/// What prepares a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The command for `sh -c`.
    pub run: String,
    /// Files whose change makes it run again.
    pub key: Vec<String>,
    /// Bound in milliseconds.
    pub timeout_ms: u64,
    /// Variables for the command.
    pub env: BTreeMap<String, String>,
}

/// What of a commit is checked out in slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// Whether submodules hold their files. Where nothing is said they do, as far as the user's repository has them: a
    /// build that needs them fails without, and none of it is fetched.
    pub submodules: bool,
    /// Whether files of Git LFS hold their content instead of pointers to it. Where nothing is said they do: what a check
    /// reads is then what its users will read.
    pub lfs: bool,
    /// The folders that slots hold, with the files of those above them; empty is everything. That is the default even where
    /// the user's own checkout is sparse: a step would silently miss what is not there.
    pub sparse: Vec<String>,
}

impl Default for Checkout {
    fn default() -> Self {
        Self { submodules: true, lfs: true, sparse: Vec::new() }
    }
}

/// Bounds on a whole run; `None` is the configuration's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Workers at once.
    pub jobs: Option<u32>,
    /// Checks at once.
    pub checks: Option<u32>,
    /// Money in billionths of a US dollar.
    pub nano_usd: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// Disk for slots in bytes.
    pub disk_bytes: Option<u64>,
}

/// Steps that land together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How it lands; there is one way yet.
    pub land: Land,
}

/// How a group lands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Land {
    /// Checked once on its last tree, landed in one move of the target.
    #[default]
    Together,
}

/// A file that landing makes anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The file.
    pub path: String,
    /// The command for `sh -c` that makes it.
    pub run: String,
}

/// How steps become commits of the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitStyle {
    /// Merge commits or one commit per step.
    pub style: Style,
    /// Whether a `Signed-off-by` line is added.
    pub sign_off: bool,
}

/// Merge commits or one commit per step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// One merge commit per landing, never a fast-forward.
    #[default]
    Merge,
    /// One commit per step.
    Squash,
}

/// Who is told of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// The command for `sh -c`; the event is its input, as JSON.
    pub run: String,
    /// The events.
    pub on: Vec<String>,
}

impl Plan {
    /// Joins what validation has found to be right. `graph` is over the places of `steps`.
    pub(crate) fn new(settings: Settings, steps: Vec<Step>, graph: Graph) -> Self {
        let index = steps.iter().enumerate().map(|(i, step)| (step.id.clone(), i)).collect();
        let mut members: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            if let Some(group) = &step.group {
                members.entry(group.clone()).or_default().push(i);
            }
        }
        Self { settings, steps, index, members, graph }
    }

    /// What the user asked for.
    pub fn task(&self) -> &str {
        &self.settings.task
    }

    /// The branch to land on; `None` is the one checked out.
    pub fn target(&self) -> Option<&str> {
        self.settings.target.as_deref()
    }

    /// The checks of every landing: `None` where the file has no such key, empty where it says `checks: []`.
    pub fn checks(&self) -> Option<&[Check]> {
        self.settings.checks.as_deref()
    }

    /// What prepares a slot.
    pub fn setup(&self) -> Option<&Setup> {
        self.settings.setup.as_ref()
    }

    /// What of a commit is checked out in slots.
    pub fn checkout(&self) -> &Checkout {
        &self.settings.checkout
    }

    /// Bounds on the run.
    pub fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// The groups by id.
    pub fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.settings.groups
    }

    /// The steps of a group, in plan order.
    pub fn group_members(&self, group: &GroupId) -> Vec<&Step> {
        self.members.get(group).into_iter().flatten().map(|i| &self.steps[*i]).collect()
    }

    /// The same as places in plan order.
    pub fn group_places(&self, group: &GroupId) -> &[usize] {
        self.members.get(group).map_or(&[], Vec::as_slice)
    }

    /// Paths restored before a step's commit.
    pub fn discard(&self) -> &[Glob] {
        &self.settings.discard
    }

    /// Files that landing makes anew.
    pub fn generated(&self) -> &[Generated] {
        &self.settings.generated
    }

    /// How steps become commits of the target.
    pub fn commit(&self) -> CommitStyle {
        self.settings.commit
    }

    /// Who is told of what.
    pub fn notify(&self) -> Option<&Notify> {
        self.settings.notify.as_ref()
    }

    /// The steps in plan order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step of that id.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.index.get(id).map(|i| &self.steps[*i])
    }

    /// Place of a step in plan order, from 0.
    pub fn position(&self, id: &StepId) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// A topological order over `needs` and implicit order: the longest chain of dependents first, then plan order.
    pub fn order(&self) -> Vec<&StepId> {
        self.graph.order().iter().map(|i| &self.steps[*i].id).collect()
    }

    /// The place of a step in that order; `None` for an unknown id.
    pub fn rank(&self, id: &StepId) -> Option<usize> {
        self.index.get(id).map(|i| self.graph.rank(*i))
    }

    /// The same as places in plan order.
    pub fn places_in_order(&self) -> &[usize] {
        self.graph.order()
    }

    /// What the step at a place comes directly after: places and why, in plan order.
    pub fn before(&self, place: usize) -> &[(usize, EdgeKind)] {
        self.graph.before(place)
    }

    /// What comes directly after the step at a place: places and why, in plan order.
    pub fn behind(&self, place: usize) -> &[(usize, EdgeKind)] {
        self.graph.behind(place)
    }

    /// What a step comes directly after, in plan order; empty for an unknown id.
    pub fn predecessors(&self, id: &StepId) -> Vec<Edge> {
        self.edges(id, Graph::before)
    }

    /// What comes directly after a step, in plan order; empty for an unknown id.
    pub fn successors(&self, id: &StepId) -> Vec<Edge> {
        self.edges(id, Graph::behind)
    }

    fn edges(&self, id: &StepId, of: impl Fn(&Graph, usize) -> &[(usize, EdgeKind)]) -> Vec<Edge> {
        let Some(i) = self.index.get(id) else {
            return Vec::new();
        };
        let edge = |(other, kind): &(usize, EdgeKind)| Edge { step: self.steps[*other].id.clone(), kind: *kind };
        of(&self.graph, *i).iter().map(edge).collect()
    }

    /// The number of steps in the longest chain that waits for this one; 0 for an unknown id.
    pub fn priority(&self, id: &StepId) -> u32 {
        self.index.get(id).map_or(0, |i| self.graph.priority(*i))
    }

    /// Every rule file the plan names, sorted, each once. The caller freezes their bytes.
    pub fn files(&self) -> Vec<&str> {
        let works = self
            .steps
            .iter()
            .flat_map(|step| std::iter::once(&step.work).chain(step.repair.as_ref().map(|repair| &repair.work)));
        let files: BTreeSet<&str> = works
            .filter_map(|work| match work {
                Work::Rewrite(RuleSource::File(path)) => Some(path.as_str()),
                Work::Rewrite(RuleSource::Inline(_) | RuleSource::Pattern { .. })
                | Work::Run { .. }
                | Work::Agent(_)
                | Work::Revert(_) => None,
            })
            .collect();
        files.into_iter().collect()
    }
}
