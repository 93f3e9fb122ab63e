//! Every error code that an answer can carry, with its statuses and what it means: the one list behind the OpenAPI
//! document and `docs/errors.md`. A test compares it with the codes in the sources, so that neither knows one that the
//! other does not.

use super::operation::{Operation, Tier};
use super::parameters;

/// One stable error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code {
    /// As it stands in `error` or `code`.
    pub(crate) code: &'static str,
    /// HTTP status.
    pub(crate) status: u16,
    /// When it is answered, and what helps.
    pub(crate) meaning: &'static str,
}

const fn code(status: u16, code: &'static str, meaning: &'static str) -> Code {
    Code { code, status, meaning }
}

/// All codes, by status.
pub(crate) const CODES: &[Code] = &[
    code(400, "CREATED_BY_REQUIRED", "An admin's API key has to name the owner in `created_by`."),
    code(
        400,
        "INVALID_ACTION_EVENT",
        "The event does not fit the contract's `event_schema`, the interaction has left the contract, or the event is too large to be mirrored.",
    ),
    code(
        400,
        "INVALID_ACTION_REQUEST",
        "The contract allows no such action between these items, the requirements do not fit its `requirement_schema` (`details`), or they are too large to be mirrored.",
    ),
    code(400, "INVALID_ACTION_STATUS", "The status is not in the `enum` of the contract's `event_schema`."),
    code(400, "INVALID_DESTINATION", "The batch is meant for another instance."),
    code(
        400,
        "INVALID_EVENT_REQUEST",
        "The target network is not loaded here, it has no such interaction, or the payload does not fit (`details`).",
    ),
    code(
        400,
        "INVALID_ITEM_STATE",
        "`item_state` does not fit the item type's schema (`details`), or there is no such type.",
    ),
    code(
        400,
        "INVALID_JSON",
        "The body is missing, malformed, nested deeper than 128, holds a lone surrogate escape, or a number beyond 64 bits.",
    ),
    code(400, "INVALID_OTP", "The code is wrong, expired, used, or void after five wrong guesses: not told apart."),
    code(400, "INVALID_REFERENCE", "`created_by` names no user here."),
    code(400, "INVALID_SOURCE_INSTANCE", "The source item's URL is not this instance."),
    code(
        400,
        "INVALID_TARGET_INSTANCE",
        "The target item's URL is not registered for its domain, or, between instances, is not this one.",
    ),
    code(400, "INVALID_TARGET_ITEM", "The target network has no such domain."),
    code(400, "NAME_REQUIRED", "An API key needs a name."),
    code(400, "PASSWORD_TOO_LONG", "A password has at most 128 characters."),
    code(400, "PASSWORD_TOO_SHORT", "A password has at least 8 characters."),
    code(400, "SERVER_ONLY_PROPERTY", "The key's permissions, owner, limits and refills are not for clients to set."),
    code(400, "VALIDATION_ERROR", "Path, query, header or body does not fit; `details` names every fault."),
    code(401, "INVALID_EMAIL_OR_PASSWORD", "No account has this e-mail and password: not told apart."),
    code(
        401,
        "PEER_SIGNATURE_INVALID",
        "The signature, its digest, its time, its nonce or its key is not as it has to be.",
    ),
    code(401, "PEER_SIGNATURE_REQUIRED", "This call has to be signed."),
    code(401, "UNAUTHORIZED", "Sign in or send an API key."),
    code(403, "ADMIN_REQUIRED", "The API key's owner is no admin."),
    code(403, "BANNED_USER", "The account is banned."),
    code(403, "EVENT_ORIGIN_MISMATCH", "The origin is not the target item's instance."),
    code(403, "FORBIDDEN_CREATED_BY", "Only an admin's API key may name the owner of a new item."),
    code(403, "INVALID_ADMIN_KEY", "`x-admin-key` is not the operator's."),
    code(403, "INVALID_API_KEY", "The API key is unknown, expired or disabled, or its owner is banned."),
    code(403, "INVALID_ORIGIN", "This origin may not use the session cookie."),
    code(403, "MISSING_OR_NULL_ORIGIN", "A call with the session cookie has to name its origin."),
    code(403, "PEER_IDENTITY_MISMATCH", "The caller speaks for another instance, or for this one."),
    code(403, "PEER_NOT_REGISTERED", "The contract does not register the calling instance for the item's domain."),
    code(403, "SOURCE_ITEM_NOT_OWNED", "The source item is not the caller's."),
    code(403, "TARGET_ITEM_NOT_OWNED", "The caller may not make this change to the action."),
    code(
        403,
        "UNSERVED_DOMAIN_BINDING",
        "This instance does not serve the pair of network and domain; the answer lists what it serves.",
    ),
    code(404, "ACTION_NOT_FOUND", "No such action is known here, or its target item is deleted."),
    code(404, "ITEM_NOT_FOUND_OR_FORBIDDEN", "No such item, deleted, or not the caller's: not told apart."),
    code(404, "ITEM_TYPE_NOT_FOUND", "The domain has no such item type."),
    code(404, "KEY_NOT_FOUND", "The caller has no such API key."),
    code(404, "LANE_NOT_FOUND", "There is no lane to that instance, or not in that network."),
    code(404, "NETWORK_NOT_FOUND", "The network is not loaded here."),
    code(404, "NOT_FOUND", "There is no such route."),
    code(404, "PARKED_NOT_FOUND", "There is no such parked event: unknown, sent again or dropped."),
    code(404, "SOURCE_ITEM_NOT_FOUND", "The source item does not exist here."),
    code(404, "TARGET_ITEM_NOT_FOUND", "The target item does not exist."),
    code(405, "METHOD_NOT_ALLOWED", "The route exists, the method does not; `allow` lists those that do."),
    code(409, "ACTION_CONFLICT", "The action changed meanwhile, again and again; read it and try again."),
    code(409, "EVENT_IDENTITY_CONFLICT", "The action's id is known here as another action, or is held here."),
    code(
        409,
        "IDEMPOTENCY_KEY_IN_PROGRESS",
        "A call with this key is still on its way; try again after `retry-after`.",
    ),
    code(409, "INVALID_TRANSITION", "From its present status the action can't take this one."),
    code(409, "ITEM_ALREADY_EXISTS", "An item with this id exists already."),
    code(409, "ITEM_CONFLICT", "The item changed meanwhile, again and again; read it and try again."),
    code(409, "LANE_STATE_CONFLICT", "The lane is unregistered or paused, so this can't be done with it."),
    code(412, "PRECONDITION_FAILED", "The item's version is not one of `if-match`; nothing was changed."),
    code(413, "PAYLOAD_TOO_LARGE", "The body is larger than the route takes (1 MiB; a batch of events 256 KiB)."),
    code(415, "UNSUPPORTED_MEDIA_TYPE", "A body has to be declared as `application/json`."),
    code(422, "IDEMPOTENCY_KEY_REUSED", "The key was used with another body."),
    code(422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "An account has this e-mail already."),
    code(429, "RATE_LIMITED", "Too many calls; try again after `retry-after`."),
    code(500, "INTERNAL_SERVER_ERROR", "Something unforeseen; the log has the cause under the request's id."),
    code(500, "PARTITION_SETUP_FAILED", "Storage for the network could not be prepared."),
    code(501, "CANCEL_UNSUPPORTED_BY_TARGET", "The target instance can't take a status change from the source's side."),
    code(502, "MATCH_SCORE_SERVICE_UNAVAILABLE", "The scoring service did not answer as it should."),
    code(
        502,
        "NETWORK_CONFIG_INVALID",
        "A document of the contract is refused (`details`); the last good contract stays in force.",
    ),
    code(502, "OTP_DELIVERY_FAILED", "The code could not be delivered, and is void."),
    code(502, "REMOTE_SCHEMA_FETCH_FAILED", "A document could not be fetched; the last good contract stays in force."),
    code(502, "TARGET_INSTANCE_REFUSED", "The target instance does not trust this one; its code is in `message`."),
    code(502, "TARGET_INSTANCE_UNAVAILABLE", "The target instance can't be reached, or did not answer as it should."),
    code(503, "MATCH_SCORE_NOT_CONFIGURED", "This instance has no scoring service."),
    code(503, "OTP_DELIVERY_UNAVAILABLE", "This instance can't send codes."),
    code(
        503,
        "PROJECTION_BEHIND",
        "The tables have not reached `dpg-min-position` yet; try again after `retry-after`.",
    ),
    code(
        503,
        "SERVICE_UNAVAILABLE",
        "The write queue is full, the database away, or too many network reads are under way; try again after `retry-after`.",
    ),
    code(
        504,
        "TARGET_INSTANCE_TIMEOUT",
        "The target instance did not answer in time. Whether the call had its effect is unknown: repeat it with the same `idempotency-key`.",
    ),
];

/// What a code means.
pub(crate) fn meaning(status: u16, code: &str) -> &'static str {
    let known = CODES.iter().find(|known| known.status == status && known.code == code);
    known.map_or("", |known| known.meaning)
}

impl Operation {
    /// Every (status, code) that it may answer, in order.
    pub(crate) fn refusals(&self) -> Vec<(u16, &'static str)> {
        let mut all = self.own_refusals.clone();
        all.push((500, "INTERNAL_SERVER_ERROR"));
        all.push((413, "PAYLOAD_TOO_LARGE"));
        if self.body.is_some() {
            all.extend([(400, "INVALID_JSON"), (400, "VALIDATION_ERROR"), (415, "UNSUPPORTED_MEDIA_TYPE")]);
        }
        if self.parameters.iter().any(parameters::can_be_faulty) {
            all.push((400, "VALIDATION_ERROR"));
        }
        if self.path.contains('{') {
            all.push((404, "NOT_FOUND"));
        }
        match self.tier {
            Tier::Open | Tier::Auth => {}
            Tier::Session | Tier::User => {
                all.extend([(401, "UNAUTHORIZED"), (403, "INVALID_API_KEY"), (429, "RATE_LIMITED")]);
            }
            Tier::PeerRead | Tier::PeerStatus => {
                all.extend([(401, "PEER_SIGNATURE_REQUIRED"), (401, "PEER_SIGNATURE_INVALID")]);
            }
            Tier::PeerWrite | Tier::PeerSignedWrite => all.extend([
                (401, "PEER_SIGNATURE_REQUIRED"),
                (401, "PEER_SIGNATURE_INVALID"),
                (403, "PEER_NOT_REGISTERED"),
                (403, "PEER_IDENTITY_MISMATCH"),
            ]),
            Tier::Admin => all.extend([
                (401, "UNAUTHORIZED"),
                (403, "INVALID_ADMIN_KEY"),
                (403, "INVALID_API_KEY"),
                (403, "ADMIN_REQUIRED"),
                (429, "RATE_LIMITED"),
            ]),
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}
