//! Who may change what of a task, and the gates of a board. Pure functions: what they need to know is given to them.

use serde_json::{Value, json};

use super::super::access::Actor;
use super::super::{flag, unfit, with_data};
use super::blocked;
use crate::error::{Error, Result};
use crate::records::body::{Body, text};

/// Who changes a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// A person, or a program that acts for people.
    Person,
    /// The lead of the board.
    Lead,
    /// Any other agent.
    Worker,
}

impl Rank {
    pub(super) fn of(actor: Option<&Actor>) -> Self {
        match actor {
            None => Self::Person,
            Some(agent) if agent.is_lead => Self::Lead,
            Some(_) => Self::Worker,
        }
    }
}

/// Fields that a lead may change.
const LEAD: [&str; 5] = [
    "assigned_agent_id",
    "status",
    "depends_on_task_ids",
    "tag_ids",
    "custom_field_values",
];
/// Fields that a worker may change.
const WORKER: [&str; 3] = ["status", "comment", "custom_field_values"];

/// Returns the error for a worker that changes what is not its own, with a code for programs.
pub(super) fn mismatch(code: &'static str, message: &str) -> Error {
    with_data(Error::forbidden(code, message), json!({"code": code}))
}

/// Checks which fields an actor changes, and whose task it is.
///
/// # Errors
/// `lead_comment_gate`, `lead_field_gate`, `task_assignee_mismatch`, `task_update_field_forbidden`.
pub(super) fn allow_fields(
    rank: Rank,
    actor: Option<&Actor>,
    task: &Body,
    patch: &Body,
) -> Result<()> {
    match (rank, actor) {
        (Rank::Person, _) | (_, None) => Ok(()),
        (Rank::Lead, _) => {
            if patch.get("comment").is_some_and(|c| !c.is_null()) {
                return Err(Error::forbidden(
                    "lead_comment_gate",
                    "Lead comment gate failed: board leads cannot comment in a task update; post a comment instead.",
                ));
            }
            match patch
                .keys()
                .find(|name| !LEAD.contains(&name.as_str()) && *name != "comment")
            {
                None => Ok(()),
                Some(name) => Err(Error::forbidden(
                    "lead_field_gate",
                    format!(
                        "Lead field gate failed: board leads cannot change {name}; they change {}.",
                        LEAD.join(", ")
                    ),
                )),
            }
        }
        (Rank::Worker, Some(worker)) => {
            let owner = text(task, "assigned_agent_id");
            if owner.is_some_and(|id| id != worker.id) {
                return Err(mismatch(
                    "task_assignee_mismatch",
                    "Agents can only update tasks that are assigned to them.",
                ));
            }
            match patch.keys().find(|name| !WORKER.contains(&name.as_str())) {
                None => Ok(()),
                Some(name) => Err(mismatch(
                    "task_update_field_forbidden",
                    &format!(
                        "Agents cannot change {name}; they change {}.",
                        WORKER.join(", ")
                    ),
                )),
            }
        }
    }
}

/// Checks a change of a task that waits for others. A person's change is never refused: the task returns to the inbox.
///
/// # Errors
/// `task_blocked_cannot_transition`.
pub(super) fn allow_blocked(
    rank: Rank,
    patch: &Body,
    status: &str,
    waits_for: &[String],
) -> Result<()> {
    if waits_for.is_empty() {
        return Ok(());
    }
    let is_refused = match rank {
        Rank::Person => false,
        Rank::Lead => {
            patch.contains_key("status")
                || patch.get("assigned_agent_id").is_some_and(|v| !v.is_null())
        }
        Rank::Worker => patch.contains_key("status") && status != "inbox",
    };
    if is_refused {
        Err(blocked(waits_for, true))
    } else {
        Ok(())
    }
}

/// Checks a move between two statuses.
///
/// # Errors
/// `lead_status_gate`, `lead_status_target_gate`, `status_for_lead_only`.
pub(super) fn allow_status(
    rank: Rank,
    actor: Option<&Actor>,
    board: &Body,
    (from, to): (&str, &str),
    patch: &Body,
) -> Result<()> {
    if !patch.contains_key("status") {
        return Ok(());
    }
    match rank {
        Rank::Person => Ok(()),
        Rank::Worker => {
            let is_lead = actor.is_some_and(|a| a.is_lead);
            if flag(board, "only_lead_can_change_status") && !is_lead {
                return Err(Error::forbidden(
                    "status_for_lead_only",
                    "Only the board lead can change the status of tasks on this board.",
                ));
            }
            Ok(())
        }
        Rank::Lead if from == to => Ok(()),
        Rank::Lead => match from {
            "review" if matches!(to, "done" | "inbox") => Ok(()),
            "review" => Err(Error::forbidden(
                "lead_status_target_gate",
                "Lead status target gate failed: from review, board leads move a task to done or inbox.",
            )),
            "inbox" if to == "in_progress" => {
                if patch.get("assigned_agent_id").is_some_and(Value::is_string) {
                    Ok(())
                } else {
                    Err(Error::forbidden(
                        "lead_status_target_gate",
                        "Lead status target gate failed: a task starts together with an assignee.",
                    ))
                }
            }
            _ => Err(Error::forbidden(
                "lead_status_gate",
                format!(
                    "Lead status gate failed: board leads change the status of tasks in review, and start tasks of the inbox; this one is in {from}."
                ),
            )),
        },
    }
}

/// Facts about a task on which the gates of a board decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gates {
    /// Whether an approval of it is pending.
    pub pending: bool,
    /// Whether an approval of it was approved.
    pub approved: bool,
    /// Whether the work was commented on.
    pub commented: bool,
}

impl Gates {
    /// Checks a move against the rules of the board, in the order of the contract.
    ///
    /// # Errors
    /// `approval_pending`, `review_required`, `approval_required`, `comment_required`.
    pub(super) fn pass(self, board: &Body, from: &str, to: &str) -> Result<()> {
        let conflict = |code, message: &str| {
            let error = Error::conflict(code, message);
            Err(with_data(error, json!({"blocked_by_task_ids": []})))
        };
        if flag(board, "block_status_changes_with_pending_approval") && self.pending {
            return conflict(
                "approval_pending",
                "Task status cannot be changed while a linked approval is pending.",
            );
        }
        if flag(board, "require_review_before_done") && to == "done" && from != "review" {
            return conflict(
                "review_required",
                "Task can only be marked done from review when the board rule is enabled.",
            );
        }
        if flag(board, "require_approval_for_done") && to == "done" && !self.approved {
            return conflict(
                "approval_required",
                "Task can only be marked done when a linked approval has been approved.",
            );
        }
        if flag(board, "comment_required_for_review") && to == "review" && !self.commented {
            return Err(unfit("comment_required", "Comment is required."));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Body {
        serde_json::from_value(value).expect("an object")
    }

    fn code(result: Result<()>) -> &'static str {
        result.map_or_else(|e| e.code(), |()| "ok")
    }

    #[test]
    fn gates_are_asked_in_their_order() {
        let board = body(
            json!({"block_status_changes_with_pending_approval": true, "require_review_before_done": true,
            "require_approval_for_done": true, "comment_required_for_review": true}),
        );
        let mut gates = Gates {
            pending: true,
            approved: false,
            commented: false,
        };
        assert_eq!(
            code(gates.pass(&board, "inbox", "done")),
            "approval_pending"
        );
        gates.pending = false;
        assert_eq!(code(gates.pass(&board, "inbox", "done")), "review_required");
        assert_eq!(
            code(gates.pass(&board, "review", "done")),
            "approval_required"
        );
        gates.approved = true;
        assert_eq!(code(gates.pass(&board, "review", "done")), "ok");
        assert_eq!(
            code(gates.pass(&board, "in_progress", "review")),
            "comment_required"
        );
        gates.commented = true;
        assert_eq!(code(gates.pass(&board, "in_progress", "review")), "ok");
        gates.approved = false;
        assert_eq!(code(gates.pass(&Body::new(), "inbox", "done")), "ok");
    }

    #[test]
    fn leads_move_what_is_in_review_and_start_what_is_in_the_inbox() {
        let moves = |from: &str, to: &str, patch: Value| {
            code(allow_status(
                Rank::Lead,
                None,
                &Body::new(),
                (from, to),
                &body(patch),
            ))
        };
        assert_eq!(moves("review", "done", json!({"status": "done"})), "ok");
        assert_eq!(moves("review", "inbox", json!({"status": "inbox"})), "ok");
        assert_eq!(
            moves("review", "in_progress", json!({"status": "in_progress"})),
            "lead_status_target_gate"
        );
        assert_eq!(
            moves("inbox", "in_progress", json!({"status": "in_progress"})),
            "lead_status_target_gate"
        );
        assert_eq!(
            moves(
                "inbox",
                "in_progress",
                json!({"status": "in_progress", "assigned_agent_id": "a"})
            ),
            "ok"
        );
        assert_eq!(
            moves("in_progress", "done", json!({"status": "done"})),
            "lead_status_gate"
        );
    }
}
