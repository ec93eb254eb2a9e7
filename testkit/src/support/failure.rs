//! The errors of the model, and its checks of keys and groups.

use service_registry::{Condition, Problem, StoreError};

/// An error, in a form that the model can make as well.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    NotFound(String),
    Invalid {
        field: String,
        value: String,
        problem: Problem,
    },
    Rejected {
        index: usize,
        operation: &'static str,
        source: Box<Failure>,
    },
    /// Without what was found, which the contract's own tests check.
    Conflict(Condition),
    Closed,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::NotFound(key) => Failure::NotFound(key.into()),
            StoreError::Invalid(invalid) => Failure::Invalid {
                field: invalid.field().into(),
                value: invalid.value().into(),
                problem: invalid.problem().clone(),
            },
            StoreError::BatchRejected {
                index,
                operation,
                source,
            } => Failure::Rejected {
                index,
                operation,
                source: Box::new((*source).into()),
            },
            StoreError::Conflict(conflict) => Failure::Conflict(conflict.condition().clone()),
            StoreError::Closed => Failure::Closed,
            other => panic!("no operation of the model may fail so: {other}"),
        }
    }
}

pub fn check_key(key: &str) -> Result<(), Failure> {
    check_key_of("subscriber key", key)
}

pub fn check_key_of(field: &str, key: &str) -> Result<(), Failure> {
    let problem = match key.split_once(':') {
        _ if key.is_empty() => Problem::Empty,
        None => Problem::NoColon,
        Some(("", _)) => Problem::NoService,
        Some((_, "")) => Problem::NoPod,
        Some(_) => return Ok(()),
    };
    Err(Failure::Invalid {
        field: field.into(),
        value: key.into(),
        problem,
    })
}

pub fn check_group(group: &str) -> Result<(), Failure> {
    if group.is_empty() {
        return Err(Failure::Invalid {
            field: "service group".into(),
            value: String::new(),
            problem: Problem::Empty,
        });
    }
    if let Some(at) = group.find(':') {
        return Err(Failure::Invalid {
            field: "service group".into(),
            value: group.into(),
            problem: Problem::Colon { at },
        });
    }
    Ok(())
}
