//! Units of systemd, over D-Bus.

use super::quoted;
use crate::model::Facts;
use serde_json::{Map, Value as Json, json};
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, Proxy, connection};

/// The D-Bus name of systemd, its object and interfaces (`org.freedesktop.systemd1(5)`).
const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// Reads the state of `units`, from the bus at `address` or the system's.
///
/// # Errors
///
/// systemd cannot be asked, in words.
pub async fn note(
    units: &[String],
    address: Option<&str>,
    facts: &mut Facts,
) -> Result<(), String> {
    if units.is_empty() {
        return Ok(());
    }
    let all = read(units, address).await.map_err(|error| {
        format!("cannot ask systemd over D-Bus: {}", quoted(&error.to_string()))
    })?;
    let inactive = all.values().filter(|unit| unit["state"] != "active").count();
    facts.set("units_inactive", i64::try_from(inactive).unwrap_or(i64::MAX));
    facts.set("units", Json::Object(all));
    Ok(())
}

async fn read(units: &[String], address: Option<&str>) -> zbus::Result<Map<String, Json>> {
    let bus = match address {
        Some(address) => connection::Builder::address(address)?,
        None => connection::Builder::system()?,
    };
    let bus = bus.build().await?;
    let manager = Proxy::new(&bus, SYSTEMD, OBJECT, MANAGER).await?;
    let mut all = Map::new();
    for name in units {
        // Loads it where it does not run, so that a unit that is stopped is told from a typo.
        let path: OwnedObjectPath = manager.call("LoadUnit", &(name.as_str(),)).await?;
        all.insert(name.clone(), one(&bus, path).await?);
    }
    Ok(all)
}

async fn one(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<Json> {
    let unit = Proxy::new(bus, SYSTEMD, path.clone(), UNIT).await?;
    let (load, active, sub): (String, String, String) = (
        unit.get_property("LoadState").await?,
        unit.get_property("ActiveState").await?,
        unit.get_property("SubState").await?,
    );
    let state = if load == "not-found" { "not-found".to_owned() } else { active };
    let mut found = json!({ "state": state, "sub_state": sub });
    let service = Proxy::new(bus, SYSTEMD, path, SERVICE).await?;
    // Other kinds of unit have neither.
    if let Ok(restarts) = service.get_property::<u32>("NRestarts").await {
        found["restarts"] = json!(restarts);
    }
    if let Ok(result) = service.get_property::<String>("Result").await {
        found["result"] = json!(result);
    }
    Ok(found)
}

/// Why units are not well, each in words.
pub fn troubles(units: &Json) -> Vec<String> {
    let units = units.as_object().into_iter().flatten();
    let trouble = |(name, unit): (&String, &Json)| match unit["state"].as_str() {
        Some("active") => None,
        Some("not-found") => Some(format!("there is no unit {name}")),
        state => {
            let state = state.unwrap_or("without a state");
            let result = unit["result"].as_str().filter(|result| *result != "success");
            let result = result.map(|result| format!(" ({result})")).unwrap_or_default();
            Some(format!("the unit {name} is {state}{result}"))
        }
    };
    units.filter_map(trouble).collect()
}

/// The whole name of a unit.
pub fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    match text.rsplit_once('.') {
        Some((stem, kind)) if !stem.is_empty() && !kind.is_empty() && text.chars().all(plain) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("`{text}` is not the whole name of a unit (such as nginx.service)")),
    }
}

#[cfg(test)]
mod tests {
    use super::{name, troubles};
    use serde_json::json;

    #[test]
    fn a_unit_that_is_not_active_is_told_with_the_reason() {
        let units = json!({
            "a.service": {"state": "active", "sub_state": "running"},
            "b.service": {"state": "failed", "result": "exit-code"},
            "c.service": {"state": "inactive", "result": "success"},
            "d.service": {"state": "not-found"},
        });
        let expected = [
            "the unit b.service is failed (exit-code)",
            "the unit c.service is inactive",
            "there is no unit d.service",
        ];
        assert_eq!(troubles(&units), expected);
    }

    #[test]
    fn the_name_of_a_unit_is_whole() {
        assert!(name("shop@2.service").is_ok());
        for bad in ["nginx", ".service", "a b.service", "a.service/.."] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
