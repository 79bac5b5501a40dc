use super::{Cli, Exit, output};
use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write the pages of all subcommands into this folder, in the place of printing the first one
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Prints the manual page, or writes all of them.
pub fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page)?;
        output::bytes(&page)?;
        return Ok(Exit::Fine);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write manual pages into {}", folder.display()))?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_subcommand_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        for name in ["watchbell", "watchbell-run", "watchbell-silence-add", "watchbell-key-new"] {
            let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
            assert!(page.contains(".SH NAME"), "{name}");
        }
    }
}
