//! How callers prove who they are (CONTRACT 2), as `components.securitySchemes`.

use serde_json::{Value, json};

/// All schemes. In production the cookie has another name than in development.
pub(super) fn schemes(production: bool) -> Value {
    let cookie = if production { "__Secure-better-auth.session_token" } else { "better-auth.session_token" };
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "A session's token: `token` of the sign-in's answer, or its header `set-auth-token`. When this \
                            header is sent, it alone decides.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": cookie,
            "description": "The session cookie. It counts without an `Origin`, from our own origin, and from those that \
                            the operator allows.",
        },
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "x-api-key",
            "description": "An API key speaks for its owner. When this header is sent, it alone decides.",
        },
        "adminKey": {
            "type": "apiKey", "in": "header", "name": "x-admin-key",
            "description": "The operator's key. When this header is sent, it alone decides.",
        },
        "peerSignature": {
            "type": "apiKey", "in": "header", "name": "signature",
            "description": SIGNATURE,
        },
    })
}

const SIGNATURE: &str = "\
HTTP Message Signatures (RFC 9421) with Ed25519, and `content-digest: sha-256=:…:` (RFC 9530). Label `dpg`; covered are \
`\"@method\" \"@authority\" \"@path\" \"content-digest\"`, also `\"@query\"` when the URL has one and \
`\"idempotency-key\"` when it is sent; parameters `created` (within 300 seconds), `nonce` (16 random bytes, base64url; \
used once), `keyid` (the sender's registered instance URL), `alg=\"ed25519\"`, `tag=\"dpg-peer\"`. The key is one that the \
network's contract gives for `keyid`. Whether an unsigned call is accepted is up to the instance and to whether the \
caller's key is in the contract.";
