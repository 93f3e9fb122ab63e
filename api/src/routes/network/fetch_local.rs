//! `POST /api/v1/network/item/fetch_local` (CONTRACT 4.18): the items of a pair that are here, public state only.

use actix_web::http::header::ETAG;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::read_question;
use crate::app::App;
use crate::http::ApiError;
use crate::http::headers::etag;
use crate::http::page::Page;
use crate::network::fetch::own;
use crate::queries::Meta;
use crate::queries::items::ItemRow;

#[derive(Serialize)]
struct Body {
    meta: Meta,
    items: Vec<ItemRow>,
}

pub(super) async fn handle(app: App, request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let (filter, page) = read_question(&app, &request, payload, Page::read_required).await?;
    let page = own::page(&app, &filter, page).await?;
    let mut answer = HttpResponse::Ok();
    if let Some(version) = own::single_version(&filter, &page.rows) {
        answer.insert_header((ETAG, etag(version.into())));
    }
    Ok(answer.json(Body { meta: page.meta, items: page.rows }))
}
