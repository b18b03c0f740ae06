"""Settings say where a mistake was written."""

from pathlib import Path

import pytest

from app.config import DEFAULT_FOLDER, ENVIRONMENTS, ConfigError, Settings, load


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
        ("rpc: {tls: {callers: {order: [boss]}}}", "dev.yaml: rpc.tls.callers[...][0]: invalid enum value 'boss'"),
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


def test_a_variable_lists_values_with_commas() -> None:
    environ = {"GOSHOP_HTTP__TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8"}
    assert load("dev", environ=environ).http.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert load("dev", environ={"GOSHOP_HTTP__TRUSTED_PROXIES": ""}).http.trusted_proxies == ()
    environ = {"GOSHOP_RPC__TLS__CALLERS__ORDER": "system"}
    assert load("dev", environ=environ).rpc.tls.callers["order"] == ("system",)


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
