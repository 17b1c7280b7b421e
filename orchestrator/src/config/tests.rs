//! Precedence, tightening and trust, over real files.

use super::*;

struct Case {
    home: tempfile::TempDir,
}

impl Case {
    fn new(user: &str, project: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(".config/wattle/config.yaml", user);
        write("project/.wattle/config.yaml", project);
        Self { home }
    }

    fn places(&self) -> Places {
        Places { project: Some(self.home.path().join("project")), state_dir: self.home.path().join("state") }
    }

    fn load(&self, vars: &[(&str, &str)], flags: &Flags) -> Result<Effective, ConfigError> {
        let home = self.home.path().to_str().unwrap();
        let vars = [&[("HOME", home)], vars].concat();
        load(&Environment::of(&vars), &self.places(), flags)
    }
}

#[test]
fn each_source_overrides_the_one_below_it() {
    let case = Case::new("limits: { jobs: 2 }\nmodel: a/user\n", "limits: { jobs: 3 }\n");
    let jobs = |vars: &[(&str, &str)], flags: &Flags, plan| case.load(vars, flags).unwrap().jobs.with(plan);
    let none = Flags::default();
    let flag = Flags { jobs: Some(7), ..Flags::default() };
    assert_eq!(jobs(&[], &none, None), Some(3));
    assert_eq!(jobs(&[], &none, Some(5)), Some(5));
    assert_eq!(jobs(&[("WATTLE_JOBS", "6")], &none, Some(5)), Some(6));
    assert_eq!(jobs(&[("WATTLE_JOBS", "6")], &flag, Some(5)), Some(7));
    assert_eq!(case.load(&[], &none).unwrap().model.as_deref(), Some("a/user"));
    assert_eq!(case.load(&[("WATTLE_MODEL", "b/env")], &none).unwrap().model.as_deref(), Some("b/env"));
    assert_eq!(Case::new("", "").load(&[], &none).unwrap().jobs.with(None), Some(4));
}

#[test]
fn a_project_can_only_tighten() {
    let dollars = |n: u64| Some(n * 1_000_000_000);
    let case = Case::new(
        "limits: { usd: 5 }\n",
        "limits: { usd: 50 }\napprove: auto\nmodels: { evil: { base_url: http://e } }\n",
    );
    let loaded = case.load(&[], &Flags::default()).unwrap();
    assert_eq!(loaded.nano_usd.with(None), dollars(5));
    assert_eq!(loaded.nano_usd.with(dollars(20)), dollars(5), "a plan does not pass the user's own limit");
    assert_eq!(loaded.approve, Approve::Manual);
    assert!(loaded.models.endpoint(Some("evil/x")).is_err());
    assert_eq!(loaded.ignored.len(), 3, "{:?}", loaded.ignored);
    let flag = Flags { max_nano_usd: dollars(30), ..Flags::default() };
    assert_eq!(case.load(&[], &flag).unwrap().nano_usd.with(dollars(20)), dollars(30));
    let tighter =
        Case::new("approve: auto\n", "limits: { usd: 1 }\napprove: manual\n").load(&[], &Flags::default()).unwrap();
    assert_eq!((tighter.nano_usd.with(None), tighter.approve), (dollars(1), Approve::Manual));
    assert_eq!(tighter.nano_usd.with(dollars(3)), dollars(3));
}

#[test]
fn what_a_project_runs_needs_trust_by_content() {
    let case = Case::new("", "checks: [{ name: b, run: make }]\n");
    let Err(ConfigError::Untrusted { keys, .. }) = case.load(&[], &Flags::default()) else { panic!("untrusted") };
    assert_eq!(keys, ["checks"]);
    assert!(case.load(&[("WATTLE_TRUST", "1")], &Flags::default()).is_ok());
    let places = case.places();
    let file = places.project_file().unwrap();
    Trust::of(&places.state_dir).add(&std::fs::read_to_string(&file).unwrap(), &file).unwrap();
    assert!(case.load(&[], &Flags::default()).unwrap().frame.contains_key("checks"));
    std::fs::write(&file, "checks: [{ name: b, run: curl }]\n").unwrap();
    assert!(matches!(case.load(&[], &Flags::default()), Err(ConfigError::Untrusted { .. })));
    std::fs::write(&file, "checks: []\ndiscard: [Cargo.lock]\n").unwrap();
    assert!(case.load(&[], &Flags::default()).is_ok(), "nothing of it runs");
}

#[test]
fn a_variable_that_cannot_be_is_named() {
    let case = Case::new("", "");
    let error = case.load(&[("WATTLE_MAX_USD", "lots")], &Flags::default()).unwrap_err();
    assert_eq!(error.to_string(), "read WATTLE_MAX_USD: `lots` is not an amount in dollars like 5.00");
    assert!(case.load(&[("WATTLE_APPROVE", "always")], &Flags::default()).is_err());
}
