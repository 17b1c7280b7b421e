//! The files that a call of a tool names.

use serde::Deserialize;

use super::patch;

/// The paths in the input of a file tool, as they are written there; empty for other tools.
pub(crate) fn files_of(name: &str, input: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct PathForm {
        file_path: String,
    }
    match name {
        "ApplyPatch" => patch::paths(input),
        "Read" | "Edit" | "Write" => {
            serde_json::from_str::<PathForm>(input).map(|form| form.file_path).into_iter().collect()
        }
        _ => Vec::new(),
    }
}
