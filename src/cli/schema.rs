use super::{Exit, output};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// The status API, as OpenAPI 3.1
    Openapi,
}

/// Prints a contract.
pub fn run(command: &SchemaCommand) -> anyhow::Result<Exit> {
    match command {
        SchemaCommand::Openapi => output::bytes(crate::serve::openapi().as_bytes())?,
    }
    Ok(Exit::Fine)
}
