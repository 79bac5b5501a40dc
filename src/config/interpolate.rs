use super::problem::{Place, Problems, SourceFile};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::DeValue;

/// Replaces `${NAME}`, `${file:PATH}` and `${credential:NAME}` in the strings of a parsed file.
///
/// It works on parsed strings, so a secret with quotes or newlines cannot change the structure.
/// `$${` stands for a plain `${`.
#[derive(Clone, Debug)]
pub struct Interpolator {
    base: PathBuf,
    credentials: Option<PathBuf>,
    secrets: bool,
}

impl Interpolator {
    /// One that reads the real environment; `base` is the folder of relative `${file:…}` paths.
    pub fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            secrets: true,
        }
    }

    /// One that puts a placeholder in the place of each value, for `validate --no-secrets`.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        self.secrets = false;
        self
    }

    /// Replaces in all strings below `value`, noting what is not set.
    pub fn replace(
        &self,
        value: &mut Spanned<DeValue<'_>>,
        file: &Arc<SourceFile>,
        key: &str,
        problems: &mut Problems,
    ) {
        let span = value.span();
        match value.get_mut() {
            DeValue::String(text) => {
                if let Some(replaced) = self.expand(text, file, key, span, problems) {
                    *text = replaced.into();
                }
            }
            DeValue::Array(items) => {
                for item in items.iter_mut() {
                    self.replace(item, file, key, problems);
                }
            }
            DeValue::Table(table) => {
                for (name, item) in table.iter_mut() {
                    let name: &str = name.get_ref();
                    let path =
                        if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
                    self.replace(item, file, &path, problems);
                }
            }
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn expand(
        &self,
        text: &str,
        file: &Arc<SourceFile>,
        key: &str,
        span: Range<usize>,
        problems: &mut Problems,
    ) -> Option<String> {
        text.find("${")?;
        if !self.secrets && text.starts_with("${") && text.find('}') == Some(text.len() - 1) {
            return Some(STAND_IN.to_owned());
        }
        let place = Place { file: Arc::clone(file), span, key: key.to_owned() };
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut known = true;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                problems.push(
                    place.error("`${` has no closing `}`").hint("write `$${` for a plain `${`"),
                );
                return Some(STAND_IN.to_owned());
            };
            let name = &rest[start + 2..start + end];
            if let Some(path) = name.strip_prefix("file:") {
                problems.reads(&self.base.join(path));
            }
            match self.look_up(name) {
                Ok(value) => {
                    if self.secrets {
                        problems.hides(&value);
                    }
                    out.push_str(&value);
                }
                Err((message, hint)) => {
                    problems.push(place.error(message).hint(hint));
                    known = false;
                }
            }
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
        Some(if known { out } else { STAND_IN.to_owned() })
    }

    fn look_up(&self, name: &str) -> Result<String, (String, String)> {
        if !self.secrets {
            return Ok(PLACEHOLDER_HOST.to_owned());
        }
        if let Some(path) = name.strip_prefix("file:") {
            return read(&self.base.join(path));
        }
        if let Some(credential) = name.strip_prefix("credential:") {
            let Some(folder) = &self.credentials else {
                return Err((
                    format!("the credential `{credential}` is not available"),
                    "systemd passes it with `LoadCredential=`; $CREDENTIALS_DIRECTORY is not set"
                        .to_owned(),
                ));
            };
            if credential.contains('/') {
                return Err((
                    format!("`{credential}` is not the name of a credential"),
                    "it is a name, not a path".to_owned(),
                ));
            }
            return read(&folder.join(credential));
        }
        std::env::var(name).map_err(|_| {
            (
                format!("the environment variable `{name}` is not set"),
                format!("set {name}, or write `$${{` for a plain `${{`"),
            )
        })
    }
}

/// What stands in the place of each secret under `validate --no-secrets`: it does as the host of
/// a URL, too.
pub const PLACEHOLDER_HOST: &str = "secret.invalid";

/// What stands in the place of a value that is not known as a whole: because nobody looks, or
/// because what it refers to is not set, which has been reported then.
const STAND_IN: &str = "http://secret.invalid/";

fn read(path: &Path) -> Result<String, (String, String)> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err((
            format!("cannot read {}: {error}", path.display()),
            "the file must exist and be readable by the daemon's user".to_owned(),
        )),
    }
}
