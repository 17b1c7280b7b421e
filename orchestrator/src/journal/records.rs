//! The records of a run's steps, by their place in the plan or by their id.

use std::ops::Index;
use std::sync::Arc;

use wattle_planner::{Plan, StepId};

use super::record::StepRecord;

/// A record for every step of a plan. It is always in plan order.
#[derive(Debug, Clone)]
pub(crate) struct StepRecords {
    plan: Arc<Plan>,
    records: Vec<StepRecord>,
}

impl StepRecords {
    /// The same record for every step.
    pub(crate) fn new(plan: Arc<Plan>, record: &StepRecord) -> Self {
        let records = vec![record.clone(); plan.steps().len()];
        Self { plan, records }
    }

    /// The records of a plan that has more steps at its end.
    pub(super) fn extend(&mut self, plan: Arc<Plan>, record: &StepRecord) {
        self.records.resize(plan.steps().len(), record.clone());
        self.plan = plan;
    }

    /// The record at a place of the plan.
    pub(crate) fn at(&self, place: usize) -> &StepRecord {
        &self.records[place]
    }

    /// The record of a step, if it is one of the plan.
    pub(crate) fn get(&self, id: &StepId) -> Option<&StepRecord> {
        self.plan.position(id).map(|place| &self.records[place])
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: &StepId) -> Option<&mut StepRecord> {
        self.plan.position(id).map(|place| &mut self.records[place])
    }

    /// The same by its place.
    pub(super) fn at_mut(&mut self, place: usize) -> &mut StepRecord {
        &mut self.records[place]
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The steps, in plan order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &StepId> {
        self.plan.steps().iter().map(|step| &step.id)
    }

    /// The records, in plan order.
    pub(crate) fn values(&self) -> std::slice::Iter<'_, StepRecord> {
        self.records.iter()
    }

    /// The steps with their records, in plan order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&StepId, &StepRecord)> {
        self.keys().zip(&self.records)
    }
}

impl Index<&StepId> for StepRecords {
    type Output = StepRecord;

    fn index(&self, id: &StepId) -> &StepRecord {
        self.get(id).expect("every step of the plan has a record")
    }
}
