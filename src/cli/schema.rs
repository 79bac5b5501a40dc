mod toml;

use super::{Exit, output};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// The status API, as OpenAPI 3.1
    Openapi,
    /// The file daemon.toml, as JSON Schema, for editors
    Daemon,
    /// The files in checks.d, as JSON Schema, for editors
    Checks,
}

/// Prints a contract.
pub fn run(command: &SchemaCommand) -> anyhow::Result<Exit> {
    match command {
        SchemaCommand::Openapi => output::bytes(crate::serve::openapi().as_bytes())?,
        SchemaCommand::Daemon => output::bytes(daemon()?.as_bytes())?,
        SchemaCommand::Checks => output::bytes(checks().as_bytes())?,
    }
    Ok(Exit::Fine)
}

/// The JSON Schema of `daemon.toml`, for people to read.
///
/// # Errors
///
/// A preset that ships cannot be read.
pub fn daemon() -> anyhow::Result<String> {
    Ok(format!("{:#}\n", toml::daemon()?))
}

/// The JSON Schema of a file in `checks.d`.
pub fn checks() -> String {
    format!("{:#}\n", toml::checks())
}
