//! One definition file: YAML between two lines `---`, then Markdown. Keys that are not known are others'.

use serde::Deserialize;
use wattle_cache::price::Table;
use wattle_worker::instructions::frontmatter;
use wattle_worker::tool;

use super::{AgentFile, Resolved, blob_of};

/// Most bytes of a definition's words: they join the task of every worker that uses it.
const BODY_BYTES_MAX: usize = 32 << 10;
/// Most turns that a definition may ask for, as in a plan.
const TURNS_MAX: u64 = 1000;
/// Most bytes of a name, as in a plan.
const NAME_BYTES_MAX: usize = 100;
/// Names of tools that other programs have for ours.
const ALIASES: [(&str, &str); 2] = [("MultiEdit", "Edit"), ("LS", "Glob")];

/// A definition as it is written.
pub(super) struct File {
    pub(super) name: String,
    pub(super) source: String,
    body: String,
    tools: Option<Vec<String>>,
    disallowed: Vec<String>,
    model: Option<String>,
    max_turns: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    name: String,
    tools: Option<ListForm>,
    disallowed_tools: Option<ListForm>,
    model: Option<String>,
    max_turns: Option<u64>,
}

/// Names as a list, or as one text with commas.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListForm {
    Text(String),
    List(Vec<String>),
}

impl ListForm {
    fn names(self) -> Vec<String> {
        let texts = match self {
            ListForm::Text(text) => vec![text],
            ListForm::List(texts) => texts,
        };
        texts.iter().flat_map(|text| split(text)).collect()
    }
}

/// Splits at commas that stand in no brackets.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0usize;
    let parts = text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

impl File {
    /// Reads a file; the message says why it is no definition.
    pub(super) fn parse(source: &str, text: &str) -> Result<File, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let (Some(front), body) = frontmatter(&text) else {
            return Err("it does not begin with YAML between two lines `---`".to_owned());
        };
        let form: Form = serde_yaml::from_str(front).map_err(|error| {
            let words = error.to_string();
            words.lines().next().unwrap_or("its YAML cannot be read").to_owned()
        })?;
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = !form.name.is_empty() && form.name.len() <= NAME_BYTES_MAX && !form.name.starts_with('-');
        if !good || !form.name.bytes().all(known) {
            return Err(format!(
                "`name: {}` is not of lowercase letters, digits and hyphens",
                form.name.escape_debug()
            ));
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(format!("it has more than {} KiB", BODY_BYTES_MAX >> 10));
        }
        Ok(File {
            name: form.name,
            source: source.to_owned(),
            body: body.trim().to_owned(),
            tools: form.tools.map(ListForm::names),
            disallowed: form.disallowed_tools.map(ListForm::names).unwrap_or_default(),
            model: form.model,
            max_turns: form.max_turns,
        })
    }

    /// The definition as a run takes it. What it asks for in vain is a warning; that it leaves itself nothing to work
    /// with is a mistake.
    pub(super) fn resolve(&self, prices: &Table, warnings: &mut Vec<String>) -> Result<Resolved, String> {
        // A tool that is forbidden in part is forbidden whole; one that is granted in part is not granted.
        let disallowed: Vec<String> = self.disallowed.iter().filter_map(|name| known(bare(name))).collect();
        let mut resolved = None;
        if let Some(tools) = &self.tools {
            let mut found = Vec::new();
            for name in tools {
                match known(name) {
                    Some(tool) if disallowed.contains(&tool) || found.contains(&tool) => {}
                    Some(tool) => found.push(tool),
                    None => warnings.push(format!("{}: there is no tool `{}` here", self.source, name.escape_debug())),
                }
            }
            if found.is_empty() {
                let name = &self.name;
                return Err(format!("the agent `{name}` has no tool that there is here ({})", self.source));
            }
            resolved = Some(found);
        }
        let file = AgentFile {
            source: self.source.clone(),
            body: blob_of(&self.body),
            tools: resolved,
            disallowed,
            model: self.model(prices, warnings),
            max_turns: self.max_turns.and_then(|turns| u32::try_from(turns.clamp(1, TURNS_MAX)).ok()),
        };
        Ok((file, self.body.clone()))
    }

    /// The model that it may choose: one whose price is known, so that no bound on money loses its meaning.
    fn model(&self, prices: &Table, warnings: &mut Vec<String>) -> Option<String> {
        let wanted = self.model.as_deref().filter(|model| *model != "inherit")?;
        let priced = wanted.split_once('/').is_some_and(|(provider, name)| prices.newest(provider, name).is_some());
        if !priced {
            let why = match wanted.contains('/') {
                true => "its price is not known",
                false => "write PROVIDER/NAME",
            };
            let model = wanted.escape_debug();
            warnings.push(format!("{}: `model: {model}` is left out, the run's model is asked: {why}", self.source));
        }
        priced.then(|| wanted.to_owned())
    }
}

/// The name of a tool without its arguments.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(tool, _)| tool).trim()
}

/// Our name of a tool.
fn known(name: &str) -> Option<String> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, ours)| ours);
    tool::names().contains(&name).then(|| name.to_owned())
}
