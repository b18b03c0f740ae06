"""Settings say where a mistake was written."""

from pathlib import Path

import pytest

from app.config import DEFAULT_FOLDER, ENVIRONMENTS, SERVICES, ConfigError, Settings, load, split


def write(folder: Path, text: str) -> Path:
    (folder / "dev.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_shipped_environment_loads(environment: str) -> None:
    assert load(environment, environ={}).environment == environment


def test_prod_opens_accounts_empty_and_believes_no_stranger() -> None:
    settings = load("prod", environ={})
    assert (settings.payment.opening_balance, settings.trust_incoming, settings.rpc.tls.certificate != "") == (
        0,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("db: {tiemout: 3}", "dev.yaml: db.tiemout: unknown key"),
        ("databse: {}", "dev.yaml: databse: unknown key"),
        ("db: {timeout: soon}", "dev.yaml: db.timeout: expected `float`, got `str`"),
        ("db: {timeout: -1}", "dev.yaml: db.timeout: expected `float` > 0"),
        ("db: 3", "dev.yaml: db: expected `object`, got `int`"),
        ("db: {port: 1}\ndb: {port: 2}", "db: written twice"),
        ("db: [", "dev.yaml: "),
        ("- a", "expected a mapping"),
        ("environment: prod", "expected a mapping"),
        ("rate_limit: {when_unavailable: panic}", "rate_limit.when_unavailable: invalid enum value 'panic'"),
        ("services: {shipping: {}}", "services"),
        ("http: {trusted_proxies: [10.0.0.0/33]}", "dev.yaml: http.trusted_proxies[0]: '10.0.0.0/33' does not appear"),
        ("http: {trusted_proxies: [10.0.0.1/8]}", "dev.yaml: http.trusted_proxies[0]: 10.0.0.1/8 has host bits set"),
        ("http: {trusted_proxies: [7]}", "dev.yaml: http.trusted_proxies[0]: expected `str`, got `int`"),
        ("services: {user: {grpc: '7082'}}", "dev.yaml: services.user.grpc: expected host:port, got '7082'"),
        ("services: {user: {bind: {grpc: '::1:7082'}}}", "services.user.bind.grpc: expected host:port, got '::1:7082'"),
        ("services: {user: {internal: 'user:0'}}", "services.user.internal: expected host:port, got 'user:0'"),
        ("services: {user: {internal: 'user:65536'}}", "services.user.internal: expected host:port, got 'user:65536'"),
        ("services: {user: {listen: 'user:1'}}", "services.user.listen: unknown key"),
        (
            "services: {user: {grpc: '0.0.0.0:1'}}",
            "services.user.grpc: nobody can call 0.0.0.0:1; name it in services.user.bind",
        ),
        ("services: {order: {internal: '[::]:1'}}", "services.order.internal: nobody can call [::]:1; name it in"),
        ("rpc: {tls: {callers: {order: [boss]}}}", "dev.yaml: rpc.tls.callers.order[0]: invalid enum value 'boss'"),
        ("faults: product.search=explode", "faults: 'product.search=explode'"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("dev", folder=write(tmp_path, text), environ={})
    assert said in str(error.value)


def test_the_environment_overrides_the_file() -> None:
    environ = {"GOSHOP_DB__TIMEOUT": "2.5", "GOSHOP_SERVICES__USER__GRPC": "127.0.0.1:1", "GOSHOP_DOCS": "false"}
    settings = load("dev", environ=environ)
    assert (settings.db.timeout, settings.services["user"].grpc, settings.docs) == (2.5, "127.0.0.1:1", False)
    assert settings.services["user"].internal


def test_a_variable_of_the_telemetry_layer_is_no_setting() -> None:
    assert load("dev", environ={"GOSHOP_TELEMETRY_PURE_PYTHON": "1"}) == load("dev", environ={})


def test_a_variable_of_the_gates_prometheus_is_no_setting() -> None:
    environ = {"GOSHOP_PROMETHEUS": "http://127.0.0.1:9090", "GOSHOP_PROMETHEUS_TOKEN": "secret"}
    assert load("dev", environ=environ) == load("dev", environ={})


@pytest.mark.parametrize("name", ["GOSHOP_PROMETHEUSS", "GOSHOP_PROMETHEUSTOKEN", "GOSHOP_TELEMETRY"])
def test_what_only_begins_like_a_variable_of_others_is_a_mistake(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .*: unknown key"):
        load("dev", environ={name: "x"})


def test_a_variable_lists_values_with_commas() -> None:
    environ = {"GOSHOP_HTTP__TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
    assert load("dev", environ=environ).http.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert load("dev", environ={"GOSHOP_HTTP__TRUSTED_PROXIES": ""}).http.trusted_proxies == ()
    environ = {"GOSHOP_RPC__TLS__CALLERS__ORDER": "system"}
    assert load("dev", environ=environ).rpc.tls.callers["order"] == ("system",)


def test_a_service_listens_at_its_address_unless_another_place_is_named() -> None:
    settings = load("dev", environ={"GOSHOP_SERVICES__USER__BIND__GRPC": "[::1]:7000"})
    assert (settings.listens("user", "grpc"), settings.services["user"].grpc) == ("[::1]:7000", "127.0.0.1:7081")
    assert settings.listens("user", "internal") == "127.0.0.1:9081"


def test_a_place_that_nobody_has_named_is_asked_for_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"services\.gateway\.grpc: not set"):
        load("dev", environ={}).listens("gateway", "grpc")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_metrics_of_the_gateway_are_not_for_strangers(environment: str) -> None:
    settings = load(environment, environ={})
    assert settings.listens("gateway", "internal").startswith("127.0.0.1:")
    moved = load(environment, environ={"GOSHOP_SERVICES__GATEWAY__BIND__INTERNAL": "10.0.0.5:9080"})
    assert moved.listens("gateway", "internal") == "10.0.0.5:9080"


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_no_service_listens_on_a_name_that_others_may_call_a_balancer_by(environment: str) -> None:
    settings = load(environment, environ={})
    for name in SERVICES:
        kind = "http" if name == "gateway" else "grpc"
        assert settings.listens(name, kind).startswith("0.0.0.0:")  # type: ignore[arg-type]
        assert name == "gateway" or settings.services[name].grpc == f"{name}:7080"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("user:7080", ("user", 7080)), ("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:65535", ("::1", 65535))],
)
def test_an_address_is_a_host_and_a_port(text: str, parts: tuple[str, int]) -> None:
    assert split(text) == parts


def test_nobody_is_trusted_about_addresses_unless_the_settings_name_them() -> None:
    assert [load(environment, environ={}).http.trusted_proxies for environment in ENVIRONMENTS] == [(), (), ()]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GOSHOP_DB__TIEMOUT", "1", "GOSHOP_DB__TIEMOUT: db.tiemout: unknown key"),
        ("GOSHOP_DB__TIMEOUT", "soon", "GOSHOP_DB__TIMEOUT: db.timeout: expected `float`"),
        (
            "GOSHOP_HTTP__TRUSTED_PROXIES",
            "10.0.0.0/8,x",
            "GOSHOP_HTTP__TRUSTED_PROXIES: http.trusted_proxies[1]: 'x' does",
        ),
        ("GOSHOP_SERVICES__USER__GRPC", "7082", "GOSHOP_SERVICES__USER__GRPC: services.user.grpc: expected host:port"),
        ("GOSHOP_DB", "x", "GOSHOP_DB: db: expected `object`"),
        ("GOSHOP_DB__TIMEOUT__X", "1", "GOSHOP_DB__TIMEOUT__X: there is no such setting"),
        ("GOSHOP_ENVIRONMENT", "prod", "GOSHOP_ENVIRONMENT: there is no such setting"),
    ],
)
def test_a_mistake_in_a_variable_is_named_with_the_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("dev", environ={variable: value})
    assert said in str(error.value)


def test_faults_are_refused_in_prod() -> None:
    with pytest.raises(ConfigError, match="refused in prod"):
        load("prod", environ={"GOSHOP_FAULTS": "product.search=error"})


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_half_a_tls_configuration_is_refused(environment: str) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        load(environment, environ={"GOSHOP_RPC__TLS__CERTIFICATE": "" if environment == "prod" else "tls.crt"})


def test_prod_without_tls_between_the_services_is_refused() -> None:
    nothing = {f"GOSHOP_RPC__TLS__{name}": "" for name in ("CERTIFICATE", "KEY", "AUTHORITY")}
    with pytest.raises(ConfigError, match="refused in prod"):
        load("prod", environ=nothing)


def test_an_unknown_environment_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dev, staging, prod"):
        load("qa", environ={})


def test_no_repr_shows_a_secret() -> None:
    environ = {
        "GOSHOP_DB__PASSWORD": "hunter2",
        "GOSHOP_REDIS__URL": "redis://:hunter2@127.0.0.1/0",
        "GOSHOP_AUTH__ADMIN_PASSWORD": "hunter2",
    }
    settings = load("dev", environ=environ)
    assert "hunter2" not in repr(settings)
    assert settings.db.password == "hunter2"


def test_a_default_is_there_for_everything_but_the_environment() -> None:
    assert Settings(environment="dev").db.timeout == 3.0
    assert DEFAULT_FOLDER.is_dir()


def test_the_release_is_a_setting_as_any_other() -> None:
    assert load("dev", environ={"GOSHOP_RELEASE": "1.2.0-rc1"}).release == "1.2.0-rc1"
