//! `POST /v1/classify`: what is in pictures.

use crate::answer::{
    Answer, Classified, HeatMapAnswer, PictureResult, Timing, milliseconds, predictions,
};
use crate::classify_query::{ClassifyQuery, Question};
use crate::heat_map_png;
use crate::pictures_of_body::{BodyKind, Picture, Pictures, pictures};
use crate::preparation::{Prepared, prepare};
use crate::problem::{BAD_QUERY, Problem};
use crate::service::Service;
use crate::upload;
use alexnet_vgg_core::predict::{Answer as Computed, Classification, Pending};
use alexnet_vgg_core::vision::{NormalizedViews, WholeImage};
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub async fn classify(
    State(service): State<Arc<Service>>,
    query: Result<Query<ClassifyQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let question = question(&service, query).and_then(|it| Ok((it, BodyKind::of(&headers)?)));
    // Read even if the question is wrong: a client that is still sending would not see the answer.
    let upload = upload::read(&service, &headers, body).await?;
    let (question, kind) = question?;
    let start = Instant::now();
    let max_pictures = service.options.max_pictures;
    let results = match pictures(kind, headers, upload, max_pictures).await? {
        Pictures::One(picture) => {
            let result = classify_picture(&service, &question, picture, start).await;
            service.metrics.count_picture(&question.network.name, result.as_ref().err());
            vec![PictureResult::Classified(Box::new(result?))]
        }
        Pictures::OfForm(pictures) => classify_all(&service, &question, pictures, start).await?,
    };
    Ok(Json(Answer { model: question.network.name.clone(), results }))
}

fn question(
    service: &Service,
    query: Result<Query<ClassifyQuery>, QueryRejection>,
) -> Result<Question, Problem> {
    let Query(query) = query.map_err(|rejection| {
        let detail = format!(
            "expected ?model=NAME&top_k=NUMBER&views=NAMES&heatmap=true|false, each as needed; found: {}",
            rejection.body_text()
        );
        Problem::new(BAD_QUERY, detail)
    })?;
    query.question(&service.networks, service.options.max_views)
}

/// All pictures of a form, at the same time. If the client leaves, so do they.
async fn classify_all(
    service: &Arc<Service>,
    question: &Question,
    pictures: Vec<Picture>,
    start: Instant,
) -> Result<Vec<PictureResult>, Problem> {
    let mut running = JoinSet::new();
    let mut results: Vec<Option<PictureResult>> = pictures.iter().map(|_| None).collect();
    for (index, picture) in pictures.into_iter().enumerate() {
        let (service, question) = (service.clone(), question.clone());
        running.spawn(async move {
            let name = picture.name.clone();
            let result = classify_picture(&service, &question, picture, start).await;
            service.metrics.count_picture(&question.network.name, result.as_ref().err());
            let result = match result {
                Ok(classified) => PictureResult::Classified(Box::new(classified)),
                Err(problem) => PictureResult::Failed { name, error: problem.details() },
            };
            (index, result)
        });
    }
    while let Some(finished) = running.join_next().await {
        let (index, result) = finished.map_err(|error| Problem::internal(error.to_string()))?;
        results[index] = Some(result);
    }
    Ok(results.into_iter().flatten().collect())
}

/// One picture: decoded, computed together with others, and answered.
async fn classify_picture(
    service: &Service,
    question: &Question,
    picture: Picture,
    start: Instant,
) -> Result<Classified, Problem> {
    let deadline = start + service.options.deadline();
    let Picture { name, bytes, memory } = picture;
    let (classifier, wants_heat_map) = (question.classifier.clone(), question.wants_heat_map);
    let max_pixels = service.options.max_pixels();
    let preparation = move || {
        let prepared = prepare(&bytes, &classifier, wants_heat_map, max_pixels);
        drop((bytes, memory));
        prepared
    };
    let Prepared { views, heat_map, size, time: decode } =
        service.on_decoder(deadline, preparation).await??;
    service.metrics.count_decode(decode);
    let mut times = Times::default();
    let (classification, batch_size) = compute(question, views, deadline, &mut times).await?;
    let heatmap = match heat_map {
        Some(image) => {
            let of = (image, size, &classification);
            Some(compute_heat_map(service, question, of, deadline, &mut times).await?)
        }
        None => None,
    };
    Ok(Classified {
        name,
        width: size.0,
        height: size.1,
        predictions: predictions(&classification),
        agreement: (classification.views.len() > 1).then_some(classification.agreement),
        heatmap,
        timing_ms: Timing {
            decode: milliseconds(decode),
            queue: milliseconds(times.queue),
            compute: milliseconds(times.compute),
            total: milliseconds(start.elapsed()),
        },
        batch_size,
    })
}

/// Time with the network.
#[derive(Default)]
struct Times {
    queue: Duration,
    compute: Duration,
}

impl Times {
    fn add<T>(&mut self, answer: Computed<T>) -> T {
        self.queue += answer.queue_time;
        self.compute += answer.compute_time;
        answer.value
    }
}

/// The classification, and how many images were computed together. Square crops are computed together with those of other
/// pictures; whole images (dense evaluation), which have different sizes, are computed alone.
async fn compute(
    question: &Question,
    views: NormalizedViews,
    deadline: Instant,
    times: &mut Times,
) -> Result<(Classification, usize), Problem> {
    let (batcher, classifier) = (&question.network.batcher, question.classifier.clone());
    if views.whole_images.is_empty() {
        let (channels, side) =
            (classifier.preset().channels.count(), classifier.preset().crop as usize);
        let shape = [classifier.views().as_slice().len(), channels, side, side];
        let pending = batcher.submit(views.squares, shape, Some(deadline))?;
        let answer = answered(pending, deadline).await?;
        let batch_size = answer.batch_size;
        return Ok((classifier.classification_of_logits(&times.add(answer))?, batch_size));
    }
    let pending = batcher.call(Some(deadline), move |_| classifier.classify_prepared(&views))?;
    Ok((times.add(answered(pending, deadline).await?), 1))
}

/// Where the most probable class is seen.
async fn compute_heat_map(
    service: &Service,
    question: &Question,
    (image, size, classification): (WholeImage, (u32, u32), &Classification),
    deadline: Instant,
    times: &mut Times,
) -> Result<HeatMapAnswer, Problem> {
    let (class, label) = match classification.predictions.first() {
        Some(best) => (best.class, best.label.clone()),
        None => return Err(Problem::internal("the network named no class")),
    };
    let classifier = question.classifier.clone();
    let pending = question
        .network
        .batcher
        .call(Some(deadline), move |_| classifier.heat_map_of_prepared(&image, class))?;
    let map = times.add(answered(pending, deadline).await?);
    let draw = move || heat_map_png::data_address(&map, size);
    Ok(HeatMapAnswer { png: service.on_decoder(deadline, draw).await??, label })
}

/// The answer of the network, unless it has not begun with it by the deadline.
async fn answered<T>(mut pending: Pending<T>, deadline: Instant) -> Result<Computed<T>, Problem> {
    tokio::select! {
        answer = &mut pending => return Ok(answer?),
        () = tokio::time::sleep_until(deadline.into()) => {}
    }
    if pending.has_begun() { Ok(pending.await?) } else { Err(Problem::deadline()) }
}
