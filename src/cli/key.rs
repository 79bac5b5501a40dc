use super::output::text;
use super::remote::RemoteArgs;
use super::{Exit, output, runtime};
use crate::serve::{ApiKey, Scope};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::json;

/// Keys of the API.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, with the hash of it that the configuration needs
    New(NewArgs),
    /// List the keys of a running daemon, with when each was used last
    List(ListArgs),
}

#[derive(Args, Debug)]
pub struct NewArgs {
    /// Whose it is
    #[arg(value_name = "NAME", default_value = "ops")]
    name: String,
    /// What it may do: read, operate, push
    #[arg(long, value_delimiter = ',', default_value = "read", value_parser = scope)]
    scopes: Vec<Scope>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::from_word(word).ok_or_else(|| "the scopes are read, operate and push".to_owned())
}

/// Makes or lists keys.
pub fn run(command: &KeyCommand) -> anyhow::Result<Exit> {
    match command {
        KeyCommand::New(args) => new(args),
        KeyCommand::List(args) => list(args),
    }
}

fn new(args: &NewArgs) -> anyhow::Result<Exit> {
    // 192 bits, which nobody guesses.
    let random: [u8; 24] = rand::random();
    let key = format!("wb_{}", URL_SAFE_NO_PAD.encode(random));
    let made = ApiKey::from_plain(args.name.as_str(), &key, args.scopes.clone())?;
    let scopes: Vec<&str> = made.scopes.iter().map(|scope| scope.as_str()).collect();
    if args.json {
        let hash = made.hash_text();
        output::json(
            &json!({ "name": made.name, "key": key, "key_hash": hash, "scopes": scopes }),
        )?;
        return Ok(Exit::Fine);
    }
    output::note("The key, which is shown this once. Give it to whoever is to use it:");
    output::line(&key);
    output::note("\nWhat daemon.toml needs, which is no secret:");
    output::line(&table(&made.name, &made.hash_text(), &scopes));
    Ok(Exit::Fine)
}

/// The table for `daemon.toml`.
fn table(name: &str, hash: &str, scopes: &[&str]) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let scopes: Vec<String> = scopes.iter().map(|scope| quoted(scope)).collect();
    let (name, hash, scopes) = (quoted(name), quoted(hash), scopes.join(", "));
    format!("[[api.key]]\nname = {name}\nkey_hash = {hash}\nscopes = [{scopes}]")
}

fn list(args: &ListArgs) -> anyhow::Result<Exit> {
    let keys = runtime()?.block_on(args.remote.remote()?.get("/api/v1/keys"))?;
    let items = keys["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        output::json(&items)?;
        return Ok(Exit::Fine);
    }
    let mut table = output::table(&["KEY", "SCOPES", "EXPIRES", "LAST USED"]);
    for key in items {
        let scopes = text(&key["scopes"]).replace('\n', ", ");
        let expires = match (key["expired"].as_bool(), key["expires_at"].as_str()) {
            (Some(true), Some(at)) => format!("{at} (expired)"),
            (_, Some(at)) => at.to_owned(),
            (_, None) => "never".to_owned(),
        };
        let used = key["last_used_at"].as_str().unwrap_or("not since the start");
        table.add_row([text(&key["name"]), scopes, expires, used.to_owned()]);
    }
    output::print(&table);
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn what_the_configuration_needs_is_printed_as_toml() {
        insta::assert_snapshot!(table("o\"ps", "sha256:ab", &["read", "operate"]), @r#"
        [[api.key]]
        name = 'o"ps'
        key_hash = "sha256:ab"
        scopes = ["read", "operate"]
        "#);
    }
}
