//! `/api/v1/lamps`: how the lamps do, and tests of them. Documented in `docs/api.md`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{Handles, Refused};
use crate::lamps::{self, LampState, Signal, Test};

#[derive(Serialize)]
struct Report {
    running: bool,
    backend: String,
    test: Option<TestReport>,
    lamps: Vec<LampReport>,
}

#[derive(Serialize)]
struct TestReport {
    /// `None`: all of them.
    lamp: Option<String>,
}

#[derive(Serialize)]
struct LampReport {
    name: String,
    program_pin: Option<u8>,
    preview_pin: Option<u8>,
    leds: Option<[u16; 2]>,
    signal: Signal,
    error: Option<String>,
}

impl From<Test> for TestReport {
    fn from(test: Test) -> Self {
        match test {
            Test::All => Self { lamp: None },
            Test::Lamp(name) => Self { lamp: Some(name) },
        }
    }
}

impl From<LampState> for LampReport {
    fn from(lamp: LampState) -> Self {
        let LampState { name, program_pin, preview_pin, leds, signal, error } = lamp;
        Self { name, program_pin, preview_pin, leds: leds.map(<[u16; 2]>::from), signal, error }
    }
}

pub(super) async fn state(State(handles): State<Handles>) -> Response {
    let lamps::State { running, backend, lamps, test } = handles.lamps.state();
    let (test, lamps) = (test.map(TestReport::from), lamps.into_iter().map(LampReport::from).collect());
    Json(Report { running, backend, test, lamps }).into_response()
}

pub(super) async fn test(State(handles): State<Handles>) -> Result<StatusCode, Refused> {
    can_be_tested(&handles)?;
    tracing::info!("a test of all lamps");
    handles.lamps.test();
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn identify(State(handles): State<Handles>, Path(lamp): Path<String>) -> Result<StatusCode, Refused> {
    can_be_tested(&handles)?;
    handles
        .lamps
        .identify(&lamp)
        .map_err(|unknown| Refused::new(StatusCode::NOT_FOUND, "unknown_lamp", unknown.to_string()))?;
    tracing::info!(lamp, "a lamp shows which one it is");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn end_test(State(handles): State<Handles>) -> StatusCode {
    handles.lamps.end();
    StatusCode::NO_CONTENT
}

fn can_be_tested(handles: &Handles) -> Result<(), Refused> {
    let state = handles.lamps.state();
    if state.lamps.is_empty() {
        let detail = "the settings have no [[lamp]]";
        return Err(Refused::new(StatusCode::CONFLICT, "no_lamps", detail));
    }
    if !state.running {
        let detail = "what lights the lamps does not run; on the box it is started again by itself";
        return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "lamps_gone", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Method;
    use serde_json::json;

    use super::super::tests::{Answer, Bench};
    use super::*;
    use crate::lamps::Commands;

    const CODE: (&str, &str) = ("authorization", "Bearer bkmqp-xrthw");

    fn bench() -> Bench {
        let mut bench = Bench::new();
        let lamp = |name: &str| LampState { name: name.into(), program_pin: Some(17), ..LampState::default() };
        let strip = LampState { leds: Some((1, 8)), program_pin: None, ..lamp("카메라 2/왼쪽") };
        bench.handles.lamps = Commands::new(vec![lamp("test"), strip]);
        bench.handles.access = crate::access::Access::open(Some("bkmqp-xrthw"), bench.handles.clock.clone());
        bench
    }

    fn run(bench: &Bench) {
        bench.handles.lamps.report(|state| {
            state.running = true;
            state.backend = "simulated".into();
            state.lamps[0].signal = Signal::Program;
            state.lamps[1].error = Some("busy".into());
        });
    }

    async fn ask(bench: &Bench, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        bench.ask(method, path, headers, Body::empty()).await
    }

    #[tokio::test]
    async fn everybody_sees_how_the_lamps_do() {
        let bench = bench();
        run(&bench);
        let state = bench.get("/api/v1/lamps").await;
        let state: serde_json::Value = serde_json::from_str(&state.body).unwrap();
        let expected = json!({
            "running": true,
            "backend": "simulated",
            "test": null,
            "lamps": [
                { "name": "test", "program_pin": 17, "preview_pin": null, "leds": null, "signal": "program", "error": null },
                {
                    "name": "카메라 2/왼쪽", "program_pin": null, "preview_pin": null, "leds": [1, 8], "signal": "unknown",
                    "error": "busy"
                },
            ],
        });
        assert_eq!(state, expected);
    }

    #[tokio::test]
    async fn the_administrator_tests_lamps_and_nobody_else_does() {
        let bench = bench();
        run(&bench);
        let of_second = "/api/v1/lamps/%EC%B9%B4%EB%A9%94%EB%9D%BC%202%2F%EC%99%BC%EC%AA%BD/identify";
        let commands = [
            (Method::POST, "/api/v1/lamps/test", Some(Test::All)),
            (Method::POST, of_second, Some(Test::Lamp("카메라 2/왼쪽".into()))),
            (Method::POST, "/api/v1/lamps/test/identify", Some(Test::Lamp("test".into()))),
            (Method::DELETE, "/api/v1/lamps/test", None),
        ];
        for (method, path, shown) in commands {
            let before = bench.handles.lamps.state().test;
            assert_eq!(ask(&bench, method.clone(), path, &[]).await.status(), 401, "{path}");
            assert_eq!(bench.handles.lamps.state().test, before, "{path}");
            assert_eq!(ask(&bench, method, path, &[CODE]).await.status(), 204, "{path}");
            assert_eq!(bench.handles.lamps.state().test, shown, "{path}");
        }
        let unknown = ask(&bench, Method::POST, "/api/v1/lamps/none/identify", &[CODE]).await;
        assert_eq!((unknown.status(), unknown.code()), (404, "unknown_lamp".into()));
    }

    #[tokio::test]
    async fn a_test_that_nobody_would_see_is_refused_in_words() {
        let mut bench = bench();
        let gone = ask(&bench, Method::POST, "/api/v1/lamps/test", &[CODE]).await;
        assert_eq!((gone.status(), gone.code()), (503, "lamps_gone".into()));
        assert_eq!(bench.handles.lamps.state().test, None);
        bench.handles.lamps = Commands::new(Vec::new());
        let none = ask(&bench, Method::POST, "/api/v1/lamps/test", &[CODE]).await;
        assert_eq!((none.status(), none.code()), (409, "no_lamps".into()));
    }
}
