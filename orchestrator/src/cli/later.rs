//! Commands whose names are reserved: they answer "not built yet" with the exit code of bad usage.

use clap::{Args, Subcommand};

use super::error::CliError;

/// Whatever follows the name.
#[derive(Debug, Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Commands of later versions.
#[derive(Debug, Subcommand)]
pub(crate) enum Later {
    /// Pull requests or pushes instead of a local landing (not built yet).
    #[command(hide = true)]
    Publish(Rest),
    /// Explain or test the policy (not built yet).
    #[command(hide = true)]
    Policy(Rest),
    /// Open questions (not built yet).
    #[command(hide = true)]
    Gate(Rest),
    /// Serve the Model Context Protocol (not built yet).
    #[command(hide = true)]
    Mcp(Rest),
}

impl Later {
    /// What the user is told.
    pub(crate) fn error(&self) -> CliError {
        let (name, rest) = match self {
            Self::Publish(rest) => ("wattle publish", rest),
            Self::Policy(rest) => ("wattle policy", rest),
            Self::Gate(rest) => ("wattle gate", rest),
            Self::Mcp(rest) => ("wattle mcp", rest),
        };
        tracing::debug!(arguments = ?rest.rest, "a reserved command");
        not_built(name)
    }
}

/// The answer to everything whose name is reserved.
pub(crate) fn not_built(what: &str) -> CliError {
    CliError::usage(format!("{what} is not built yet"))
        .hint("its name is reserved; `wattle --help` lists what there is")
}
