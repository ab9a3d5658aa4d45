//! What can be asked for, checked: when it comes, and again when it is read back to be done.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::datalayer::batch::{Select, Value};
use crate::datalayer::dataset::RECORDS;
use crate::datalayer::jobs::Queue;
use crate::service::app::App;
use crate::service::caller::Scope;
use crate::service::error::ApiError;
use crate::service::records::{Format, check_code};
use crate::service::text::check_line;

/// The kind of the jobs that remove what is old.
pub(super) const PURGE: &str = "purge";
/// The kind of the jobs that write records to a file.
pub(super) const RECORDS_KIND: &str = "records";

/// The body of `POST /jobs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobInput {
    pub(super) queue: Queue,
    pub(super) kind: String,
    pub(super) priority: Option<i64>,
    #[serde(default = "nothing")]
    pub(super) payload: Json,
}

/// The body of `POST /exports`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportRequest {
    pub(super) format: Format,
    #[serde(default)]
    pub(super) filter: RecordFilter,
    pub(super) priority: Option<i64>,
}

/// What a job is to do.
#[derive(Debug)]
pub(super) enum Task {
    /// `exports`, `records`.
    Export(Export),
    /// `reports`, `dashboard`.
    Dashboard(Dashboard),
    /// `notifications`, `client`.
    Notification(Notification),
    /// `maintenance`, `purge`.
    Purge,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    pub(super) format: Format,
    #[serde(default)]
    pub(super) filter: RecordFilter,
}

/// Which records.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordFilter {
    /// Of all tenants where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dashboard {
    /// Of all tenants where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tenant: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notification {
    pub(super) client_id: i64,
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Task {
    /// The task of a queue and kind, or what is wrong with it.
    pub(super) fn read(
        app: &App,
        queue: Queue,
        kind: &str,
        payload: &Json,
    ) -> Result<Self, String> {
        let task = match (queue, kind) {
            (Queue::Exports, RECORDS_KIND) => Self::Export(from(payload)?),
            (Queue::Reports, "dashboard") => Self::Dashboard(from(payload)?),
            (Queue::Notifications, "client") => Self::Notification(from(payload)?),
            (Queue::Maintenance, PURGE) => {
                from::<Nothing>(payload)?;
                Self::Purge
            }
            _ => {
                return Err(
                    "`kind` must be records in exports, dashboard in reports, client in notifications, \
                     or purge in maintenance"
                        .to_owned(),
                );
            }
        };
        task.check(app)?;
        Ok(task)
    }

    fn check(&self, app: &App) -> Result<(), String> {
        let tenant = match self {
            Self::Export(export) => {
                if let Some(code) = &export.filter.code {
                    check_code(code)?;
                }
                export.filter.tenant
            }
            Self::Dashboard(dashboard) => dashboard.tenant,
            Self::Notification(notification) => {
                check_line("message", &notification.message)?;
                None
            }
            Self::Purge => None,
        };
        match tenant {
            Some(tenant) if !app.has_tenant(tenant) => Err("`tenant` names no tenant".to_owned()),
            _ => Ok(()),
        }
    }

    /// Keeps the task to what is there for whoever asked, or says that it is about another's. A notification
    /// is held to that when it is sent.
    pub(super) fn keep_to(&mut self, scope: Scope) -> Result<(), String> {
        let tenant = match self {
            Self::Export(export) => &mut export.filter.tenant,
            Self::Dashboard(dashboard) => &mut dashboard.tenant,
            Self::Notification(_) | Self::Purge => return Ok(()),
        };
        *tenant = scope.write("tenant", *tenant)?;
        Ok(())
    }

    /// The payload that says what the task is kept to; nothing where that is said nowhere.
    pub(super) fn payload(&self) -> serde_json::Result<Option<Json>> {
        match self {
            Self::Export(export) => serde_json::to_value(export).map(Some),
            Self::Dashboard(dashboard) => serde_json::to_value(dashboard).map(Some),
            Self::Notification(_) | Self::Purge => Ok(None),
        }
    }

    /// What its file is called after the dot, and what it holds; nothing where it makes none.
    pub(super) fn file(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Export(export) => Some((export.format.extension(), export.format.content_type())),
            Self::Dashboard(_) => Some(("json", "application/json")),
            Self::Notification(_) | Self::Purge => None,
        }
    }
}

impl RecordFilter {
    pub(super) fn select(&self) -> Select {
        let mut select = Select::all(&RECORDS);
        let mut with = |name, value: Option<Value>| {
            select.filters.extend(RECORDS.column(name).zip(value));
        };
        with("tenant_id", self.tenant.map(Value::from));
        with("code", self.code.clone().map(Value::from));
        select
    }
}

/// The priority that was asked for, or the usual one.
pub(super) fn priority(app: &App, given: Option<i64>) -> Result<i64, ApiError> {
    let settings = &app.settings.jobs;
    let most = i64::from(settings.priority_max);
    let priority = given.unwrap_or_else(|| i64::from(settings.priority_default));
    if !(0..=most).contains(&priority) {
        let message = format!("`priority` must be from 0 to {most}");
        return Err(ApiError::invalid_body(message));
    }
    Ok(priority)
}

fn from<T: DeserializeOwned>(payload: &Json) -> Result<T, String> {
    T::deserialize(payload)
        .map_err(|error| format!("`payload` is not as its kind wants it: {error}"))
}

fn nothing() -> Json {
    json!({})
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn a_filter_selects_what_it_names() {
        let check = |filter: Json, expected: &[(&str, Value)]| {
            let filter: RecordFilter = from(&filter).unwrap();
            let select = filter.select();
            let found: Vec<(&str, Value)> = select
                .filters
                .into_iter()
                .map(|(column, value)| (column.name, value))
                .collect();
            assert_eq!(found, expected);
        };
        check(json!({}), &[]);
        check(
            json!({ "code": "C50.9", "tenant": 3 }),
            &[("tenant_id", 3.into()), ("code", "C50.9".into())],
        );
        assert!(from::<RecordFilter>(&json!({ "city": "Oslo" })).is_err());
        assert!(from::<Nothing>(&json!({ "all": true })).is_err());
    }
}
