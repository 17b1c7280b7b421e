//! A worker that goes on from the lead's conversation.

use super::bench::{Bench, Recorder, turns};
use crate::assignment::{Mode, StepAssignment, Work};
use crate::fork::{Fork, is_forked};
use crate::host::{Asked, Message, Proposal, Reply};
use crate::outcome::{End, Outcome};

const LIB: &[(&str, &str)] = &[("src/a.rs", "alpha\n"), ("src/b.rs", "beta\n")];

const SCRIPT: &str = r#"
version: 1
replies:
  - match: { text: "Step: heir", turn: 2 }
    blocks: [{ tool: Edit, input: { file_path: src/a.rs, old_string: alpha, new_string: gamma } }]
  - match: { text: "Step: heir", turn: 3 }
    blocks: [{ text: "It is gamma." }]
  - match: { role: lead, turn: 0 }
    blocks: [{ tool: Read, input: { file_path: src/a.rs } }, { tool: Report, input: { markdown: "The lead's own." } }]
  - match: { role: lead, turn: 1 }
    blocks: [{ tool: SubmitPlan, input: { steps: [{ id: good }] } }, { tool: Read, input: { file_path: src/b.rs } }]
"#;

async fn planned(bench: &Bench) -> Fork {
    let host = Recorder::new();
    let outcome = bench.perform_lead(bench.lead("Plan it.", 1), &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    Fork { messages: host.turns(), read: outcome.evidence.read }
}

fn heir(bench: &Bench, name: &str, fork: &Fork) -> StepAssignment {
    let mut step = bench.step(name, Mode::Write, "make it gamma");
    if let Work::Agent(work) = &mut step.work {
        work.fork = Some(fork.clone());
    }
    step
}

fn good(bench: &Bench, outcome: &Outcome) {
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_eq!(bench.file(outcome, "src/a.rs").as_deref(), Some("gamma\n"));
    assert_eq!(outcome.report, "It is gamma.", "what the lead has reported is not its report");
}

#[tokio::test]
async fn it_sends_the_same_bytes_and_knows_what_was_read() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let fork = planned(&bench).await;
    let host = Recorder::new();
    let outcome = bench.perform(&heir(&bench, "heir", &fork), &host).await;
    good(&bench, &outcome);
    let requests = bench.requests();
    let plain = |body: &str| body.replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let lead = plain(&requests[1]);
    let (shared, _) = lead.rsplit_once(r#",{"type":"text","text":"(A reminder"#).unwrap();
    assert!(plain(&requests[2]).starts_with(shared), "{}", requests[2]);
    assert!(is_forked(&host.turns()[0]), "only what is its own is journaled: {}", host.turns()[0]);
    assert_eq!(host.turns().len(), 4);
}

#[tokio::test]
async fn it_may_be_cut_off_anywhere() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let fork = planned(&bench).await;
    let whole = Recorder::new();
    good(&bench, &bench.perform(&heir(&bench, "heir", &fork), &whole).await);
    let count = whole.messages.lock().unwrap().len();
    for at in 0..count {
        for reached in [false, true] {
            let mut step = heir(&bench, &format!("heir-{at}-{reached}"), &fork);
            let host = Recorder::with(move |index, _| (index == at).then_some(Reply::Cancel));
            assert_eq!(bench.perform(&step, &host).await.end, End::Parked, "cut at {at}");
            let told = host.messages.lock().unwrap()[..at + usize::from(reached)].to_vec();
            step.resume.messages = turns(&told);
            good(&bench, &bench.perform(&step, &Recorder::new()).await);
        }
    }
}

const SPLITS: &str = r#"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Ask, input: { question: "Which?", to: lead } }, { tool: Ask, input: { question: "QQQQ" } }]
  - match: { turn: 1 }
    blocks: [{ tool: Report, input: { markdown: "A part is done.", split: [{ title: t, prompt: p, touches: [x] }] } }]
  - match: { turn: 2 }
    blocks: [{ text: "Bye." }]
"#;

#[tokio::test]
async fn a_report_may_ask_for_a_split_and_a_question_may_go_to_the_lead() {
    let long = "Q".repeat(5000);
    let bench = Bench::new(&SPLITS.replace("QQQQ", &long), LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
    assert_eq!((outcome.end, outcome.report.as_str()), (End::Done, "A part is done."));
    let messages = host.messages.lock().unwrap().clone();
    let asked: Vec<Asked> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Ask { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [Asked::Lead], "what is too long is not asked");
    let json = r#"[{"title":"t","prompt":"p","touches":["x"]}]"#.to_owned();
    assert!(messages.contains(&Message::Propose(Proposal::Split { json })));
}
