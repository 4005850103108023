//! Every kind of record. The areas define them; what is about records of any kind looks here.

use crate::records::Kind;
use crate::{
    agency, analytics, assets, bi, boards, content, crm, data, knowledge, outreach, support,
    webhooks, work,
};

/// Every kind.
pub static ALL: [&Kind; 84] = [
    &crm::CONTACT,
    &crm::COMPANY,
    &crm::LEAD,
    &crm::DELETED_LEAD,
    &crm::LEAD_NOTE,
    &crm::CUSTOM_FIELD,
    &crm::STAGE,
    &crm::DEAL,
    &crm::INVOICE,
    &crm::PAYMENT,
    &crm::ACCOUNT,
    &crm::JOURNAL,
    &crm::CAMPAIGN,
    &crm::FORECAST,
    &support::QUEUE,
    &support::TICKET,
    &support::MESSAGE,
    &support::COMMENT,
    &work::TASK,
    &work::ACTIVITY,
    &work::PROJECT,
    &work::WORK_PACKAGE,
    &work::PACKAGE_TASK,
    &work::AGENT_TASK,
    &content::COLLECTION,
    &content::SITE,
    &content::ENTRY,
    &content::CAMPAIGN,
    &content::POST,
    &content::EMAIL_TEMPLATE,
    &content::DOCUMENT_TEMPLATE,
    &content::WEBPAGE_TEMPLATE,
    &content::INVOICE_TEMPLATE,
    &content::MEDIA,
    &assets::ASSET,
    &webhooks::EVENT_TYPE,
    &webhooks::WEBHOOK,
    &analytics::EVENT,
    &analytics::PROPERTY,
    &bi::DASHBOARD,
    &bi::DATASET,
    &bi::REPORT,
    &bi::METRIC,
    &bi::EXPORT,
    &bi::ARTIFACT,
    &knowledge::ARTICLE,
    &knowledge::FINDING,
    &knowledge::BUSINESS_PLAN,
    &data::FOLDER,
    &outreach::SEQUENCE,
    &outreach::RULE,
    &outreach::SYNC_SOURCE,
    &outreach::CONNECTION,
    &outreach::PLAYBOOK,
    &outreach::FEEDBACK,
    &boards::BOARD,
    &boards::GROUP,
    &boards::TASK,
    &boards::COMMENT,
    &boards::MEMORY,
    &boards::GROUP_MEMORY,
    &boards::APPROVAL,
    &boards::GATEWAY,
    &boards::AGENT,
    &boards::ONBOARDING,
    &boards::WEBHOOK,
    &boards::TAG,
    &boards::CUSTOM_FIELD,
    &boards::SKILL_PACK,
    &boards::SKILL,
    &agency::CAMPAIGN,
    &agency::DELIVERABLE,
    &agency::ACTIVITY,
    &agency::COMMENT,
    &agency::APPROVAL,
    &agency::AGENT,
    &agency::REQUEST,
    &agency::ROUTINE,
    &agency::SKILL,
    &agency::REPORT,
    &agency::AD_CAMPAIGN,
    &agency::SEARCH_TERM,
    &agency::CHANNEL,
    &agency::INTEGRATION,
];

/// Returns a kind by its name in rows.
#[must_use]
pub fn named(name: &str) -> Option<&'static Kind> {
    ALL.into_iter().find(|kind| kind.name == name)
}

/// Returns the kind of a public id, by its prefix; `None` for ids without one.
#[must_use]
pub fn of_id(public_id: &str) -> Option<&'static Kind> {
    let (prefix, _) = public_id.split_once('_')?;
    ALL.into_iter()
        .find(|kind| !kind.prefix.is_empty() && kind.prefix == prefix)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_prefixes_and_nouns_are_unique() {
        let names: HashSet<&str> = ALL.iter().map(|k| k.name).collect();
        let nouns: HashSet<&str> = ALL.iter().map(|k| k.noun).collect();
        assert_eq!((names.len(), nouns.len()), (ALL.len(), ALL.len()));
        let prefixed = ALL.iter().filter(|k| !k.prefix.is_empty());
        let prefixes: Vec<&str> = prefixed.map(|k| k.prefix).collect();
        let unique: HashSet<&&str> = prefixes.iter().collect();
        assert_eq!(unique.len(), prefixes.len());
    }

    #[test]
    fn a_kind_without_free_fields_has_its_title_among_them() {
        for kind in ALL.iter().filter(|k| !k.open) {
            assert!(kind.field(kind.title).is_some(), "{}", kind.name);
        }
    }

    #[test]
    fn ids_lead_to_their_kind() {
        let id = "01M8253NYS60NEA3X8KANXMAXY";
        let public_id = crm::CONTACT.public_id(id);
        assert_eq!(crm::CONTACT.row_id(&public_id), Some(id));
        assert_eq!(crm::CONTACT.row_id(&format!("com_{id}")), None);
        assert!(of_id(&public_id).is_some_and(|kind| kind.is(&crm::CONTACT)));
        assert!(of_id(id).is_none());
    }

    #[test]
    fn every_event_of_a_record_has_the_area_of_its_kind() {
        for kind in ALL {
            let event = format!("{}.created", kind.noun);
            assert_eq!(webhooks::area_of(&event), Some(kind.area), "{event}");
        }
        for (event, ..) in webhooks::BUILT_IN {
            let is_known = webhooks::area_of(event).is_some();
            assert!(is_known || webhooks::is_of_documents(event), "{event}");
        }
        assert_eq!(webhooks::area_of("order.shipped"), None);
    }
}
