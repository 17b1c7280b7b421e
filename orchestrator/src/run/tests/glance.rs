//! What is kept for `status`, through the versions of the journal.

use rusqlite::Connection;

use super::Env;
use crate::journal::{Glance, JournalError, Reader, Writer};

const PLAN: &str = r#"
version: 1
task: Two steps
checks: []
steps:
  - { id: a, touches: [a], run: "echo 1 > a" }
  - { id: b, needs: [a], mode: read, title: Look at it, run: "cat a" }
"#;

fn journal(env: &Env) -> Connection {
    Connection::open(env.ctx.repo.state_dir().join("journal.db")).expect("a journal")
}

#[test]
fn an_older_journal_is_read_as_it_is_and_gets_its_rows_from_its_owner() {
    let env = Env::new(&[]);
    let (first, _) = env.run(PLAN, |_| ());
    let (second, _) = env.run(PLAN, |_| ());
    journal(&env).execute_batch("DROP TABLE glance; PRAGMA user_version = 2;").expect("a journal of version 2");
    let open = || Reader::open(env.ctx.repo.state_dir()).expect("a journal").expect("a journal");
    for run in [&first.run, &second.run] {
        let view = env.view(run);
        assert_eq!(open().kept_glance(run).expect("a journal"), None);
        assert_eq!(open().glance(run).expect("a glance"), Glance::of(&view));
    }
    drop(Writer::open(env.ctx.repo.state_dir()).expect("a migrated journal"));
    env.glance_is_the_fold(&first.run);
    env.glance_is_the_fold(&second.run);
    let backup = Connection::open(env.ctx.repo.state_dir().join("journal.db.schema-2")).expect("a backup");
    let (version, events): (i64, i64) = backup
        .query_row("SELECT (SELECT user_version FROM pragma_user_version), count(*) FROM event", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("the backup is a journal");
    let kept: i64 = journal(&env).query_row("SELECT count(*) FROM event", [], |row| row.get(0)).expect("events");
    assert_eq!((version, events), (2, kept));
}

#[test]
fn rows_that_are_not_there_or_not_readable_are_made_of_the_events() {
    let env = Env::new(&[]);
    let (end, _) = env.run(PLAN, |_| ());
    let fold = Glance::of(&env.view(&end.run));
    for harm in ["UPDATE glance SET json = '{' WHERE place = 0", "DELETE FROM glance"] {
        journal(&env).execute_batch(harm).expect("harm");
        let reader = Reader::open(env.ctx.repo.state_dir()).expect("a journal").expect("a journal");
        assert_eq!(reader.kept_glance(&end.run).expect("a journal"), None, "{harm}");
        assert_eq!(reader.glance(&end.run).expect("a glance"), fold, "{harm}");
    }
    // Whoever writes next for this run writes all of them.
    env.resume(&end.run, crate::run::begin::Overrides::default());
}

#[test]
fn a_newer_journal_is_refused() {
    let env = Env::new(&[]);
    env.run(PLAN, |_| ());
    journal(&env).execute_batch("PRAGMA user_version = 99;").expect("a journal of the future");
    let refused = |error: JournalError| matches!(error, JournalError::Newer { found: 99, .. });
    assert!(Reader::open(env.ctx.repo.state_dir()).err().is_some_and(refused));
    assert!(Writer::open(env.ctx.repo.state_dir()).err().is_some_and(refused));
}
