import orjson
import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from broker.errors import InvalidRequest
from broker.identity.compact import read
from broker.identity.jwks import ALGORITHMS, read_key, read_key_set, signer_of, stored_key
from tests.unit.identity.signing import EC, ED, OF, RSA, Signer, public


@pytest.mark.parametrize(
    ("key", "fits"), [(EC, {"ES256"}), (ED, {"Ed25519", "EdDSA"}), (RSA, {"RS256", "PS256"})]
)
def test_a_key_decides_which_algorithms_fit_it(key, fits):
    found = read_key(public(key))
    assert found.algorithms == fits
    assert found.kid == key.thumbprint()
    assert not any(found.fits(algorithm, None) for algorithm in set(ALGORITHMS) - fits)


def test_a_key_that_names_its_algorithm_is_good_for_no_other():
    assert read_key(public(RSA) | {"alg": "PS256"}).algorithms == {"PS256"}
    assert read_key(public(ED) | {"alg": "EdDSA"}).algorithms == {"Ed25519", "EdDSA"}
    for wrong in ("ES256", "HS256", "none", "RS512"):
        with pytest.raises(InvalidRequest, match="another algorithm"):
            read_key(public(RSA) | {"alg": wrong})


@pytest.mark.parametrize("key", [EC, ED, RSA])
def test_a_private_key_is_never_taken_in(key):
    with pytest.raises(InvalidRequest, match="private"):
        read_key(key.as_dict(private=True))


@pytest.mark.parametrize(
    "key",
    [
        ECKey.generate_key("P-384"),
        ECKey.generate_key("secp256k1"),
        OKPKey.generate_key("Ed448"),
        OKPKey.generate_key("X25519"),
    ],
)
def test_other_curves_are_refused(key):
    with pytest.raises(InvalidRequest, match="is not accepted"):
        read_key(public(key))


def test_weak_large_and_odd_rsa_keys_are_refused():
    weak = {"kty": "RSA", "e": "AQAB", "n": "u" * 171}
    huge = {"kty": "RSA", "e": "AQAB", "n": "u" * 1366}
    for jwk in (weak, huge, public(RSA) | {"e": "Aw"}):
        with pytest.raises(InvalidRequest):
            read_key(jwk)


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
        {"kty": "OKP", "crv": "Ed25519", "x": "%%"},
        {"kty": "OKP", "crv": ["Ed25519"], "x": "AA"},
        {"kty": "RSA", "n": "", "e": ""},
        {"kty": "RSA", "n": None, "e": None},
        {"kty": ["EC"]},
        {"kty": "oct"},
        OctKey.generate_key(256).as_dict(),
        public(EC) | {"use": "enc"},
        public(EC) | {"key_ops": ["sign"]},
    ],
)
def test_what_is_not_a_public_signing_key_is_refused_with_a_reason(jwk):
    with pytest.raises(InvalidRequest):
        read_key(jwk)


def test_only_the_public_members_are_kept():
    key = read_key(public(EC) | {"kid": "mine", "x5u": "https://evil.example", "comment": "x" * 9000})
    kept = orjson.loads(key.stored(7).jwk)
    assert set(kept) == {"kty", "crv", "x", "y", "kid"}
    assert stored_key(key.stored(7)).alias == "mine"


def test_a_key_set_holds_one_or_more_keys():
    assert [key.kid for key in read_key_set(orjson.dumps(public(EC)))] == [EC.thumbprint()]
    both = orjson.dumps({"keys": [public(EC), public(RSA)]})
    assert [key.kid for key in read_key_set(both)] == [EC.thumbprint(), RSA.thumbprint()]


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"keys":[]}', b'{"keys":{}}', b'{"keys":[1]}', b'{"kty":"EC","kty":"EC"}', b"\xff"],
)
def test_what_is_not_a_key_set_is_refused(text):
    with pytest.raises(InvalidRequest):
        read_key_set(text)


def test_a_key_set_has_an_end():
    with pytest.raises(InvalidRequest, match="1 to 64"):
        read_key_set(orjson.dumps({"keys": [public(EC)] * 65}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_counts_only_under_a_key_that_fits(algorithm):
    key = OF[algorithm]
    token = read(Signer("a", "b", key, algorithm).assertion())
    others = [k for k in (EC, ED, RSA) if k is not key]
    assert signer_of(token, found := [read_key(public(k)) for k in (*others, key)]) is found[-1]
    assert not signer_of(token, [read_key(public(k)) for k in others])
    assert not signer_of(token, [])


def test_another_key_of_the_same_kind_does_not_count():
    token = read(Signer("a", "b").assertion())
    assert not signer_of(token, [read_key(public(ECKey.generate_key("P-256")))])
    rsa = read(Signer("a", "b", RSA, "RS256").assertion())
    assert not signer_of(rsa, [read_key(public(RSAKey.generate_key(2048)))])


def test_a_key_id_narrows_the_choice_to_the_name_of_its_owner_or_its_thumbprint():
    key = read_key(public(EC) | {"kid": "mine"})
    for kid, counts in (("mine", True), (EC.thumbprint(), True), ("other", False), ("", False)):
        assert bool(signer_of(read(Signer("a", "b").assertion({"kid": kid})), [key])) is counts
