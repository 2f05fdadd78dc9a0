//! Sends the body back; with a header `x-fetch` it sends the body there and answers with what comes.

use wstd::http::{Body, Client, Error, Request, Response, StatusCode};

async fn fetch(url: String, body: Body) -> Result<Response<Body>, Error> {
    let request = Request::post(url).body(body)?;
    match Client::new().send(request).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let text = format!("{error:?}");
            Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body(text.into())?)
        }
    }
}

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let (head, body) = request.into_parts();
    if let Some(url) = head.headers.get("x-fetch") {
        return fetch(url.to_str()?.to_owned(), body).await;
    }
    let mut response = Response::builder().header("x-path", head.uri.path());
    if let Some(id) = head.headers.get("x-rusm-param-id") {
        response = response.header("x-id", id);
    }
    Ok(response.body(body)?)
}
