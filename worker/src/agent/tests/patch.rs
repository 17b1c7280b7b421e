//! Patches in a conversation: allowed where files may be written, and made once however often it is cut off.

use super::bench::{Bench, Recorder, tree, turns};
use crate::assignment::Mode;
use crate::host::Reply;
use crate::outcome::End;

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n"), ("notes.md", "old\n"), ("gone.md", "bye\n")];

/// The second patch needs what the first one left to count as read.
const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Read, input: { file_path: src/lib.rs } }
      - { tool: Read, input: { file_path: notes.md } }
      - { tool: Read, input: { file_path: gone.md } }
  - match: { turn: 1 }
    blocks:
      - tool: ApplyPatch
        input:
          patch: |
            *** Begin Patch
            *** Update File: src/lib.rs
            @@
             fn alpha() {}
            +fn beta() {}
            *** Update File: notes.md
            *** Move to: docs/notes.md
            @@
            -old
            +new
            *** Delete File: gone.md
            *** Add File: made.md
            +made
            *** End Patch
  - match: { turn: 2 }
    blocks:
      - tool: ApplyPatch
        input:
          patch: |
            *** Begin Patch
            *** Update File: docs/notes.md
            -new
            +newer
            *** Update File: made.md
            @@
             made
            +twice
            *** End Patch
  - match: { turn: 3 }
    blocks: [{ text: "Done." }]
"##;

#[tokio::test]
async fn patches_cut_off_anywhere_leave_the_same_files() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let whole = Recorder::new();
    let expected = bench.perform(&bench.step("whole", Mode::Write, "patch"), &whole).await;
    assert_eq!(expected.end, End::Committed, "{expected:?}");
    for (path, text) in [
        ("src/lib.rs", Some("fn alpha() {}\nfn beta() {}\n")),
        ("docs/notes.md", Some("newer\n")),
        ("made.md", Some("made\ntwice\n")),
        ("notes.md", None),
        ("gone.md", None),
    ] {
        assert_eq!(bench.file(&expected, path).as_deref(), text, "{path}");
    }
    let count = whole.messages.lock().unwrap().len();
    for at in 0..count {
        for reached in [false, true] {
            let mut step = bench.step(&format!("cut-{at}-{reached}"), Mode::Write, "patch");
            let host = Recorder::with(move |index, _| (index == at).then_some(Reply::Cancel));
            let cut = bench.perform(&step, &host).await;
            assert_eq!(cut.end, End::Parked, "cut at {at}: {cut:?}");
            let told = host.messages.lock().unwrap()[..at + usize::from(reached)].to_vec();
            step.resume.messages = turns(&told);
            let outcome = bench.perform(&step, &Recorder::new()).await;
            assert_eq!(outcome.end, End::Committed, "cut at {at}: {outcome:?}");
            assert_eq!(tree(&outcome), tree(&expected), "cut at {at}, reached {reached}");
        }
    }
}

#[tokio::test]
async fn a_step_that_only_reads_may_not_patch() {
    let bench = Bench::new(SCRIPT, LIB).await;
    let host = Recorder::new();
    bench.perform(&bench.step("read", Mode::Read, "patch"), &host).await;
    let refused =
        host.tool_results().iter().filter(|(text, _)| text.contains("ApplyPatch is not allowed here")).count();
    assert_eq!(refused, 2, "{:?}", host.tool_results());
}
