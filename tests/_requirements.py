"""What does the broker promise against whom, and which tests try to break it?

One list. `docs/security.md` is made from it by `python -m tests._requirements`; a test holds that every
test named here exists, that every attack test is named here, and that the page is up to date.
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "security.md"
BEGIN = "<!-- begin: made from tests/_requirements.py by `python -m tests._requirements` -->\n"
END = "<!-- end -->\n"

ADMIN = "attacks/test_admin.py"
TOKENS = "attacks/test_tokens.py"
ENDPOINT = "attacks/test_token_endpoint.py"
CREDENTIALS = "attacks/test_credentials.py"
BYPASS = "attacks/test_policy_bypass.py"
CONTENT = "attacks/test_secrets_in_content.py"
ORDERS = "attacks/test_injected_orders.py"
DEFINITIONS = "attacks/test_tool_definitions.py"
PSEUDONYMS = "attacks/test_pseudonyms.py"
EVASION = "attacks/test_guard_evasion.py"
TAMPERING = "attacks/test_log_tampering.py"
EXPORTED = "attacks/test_export_tampering.py"
EVIDENCE = "attacks/test_evidence_tampering.py"
MCP = "attacks/test_mcp_wire.py"
MODELS = "attacks/test_model_wire.py"
WIRE = "attacks/test_wire_of_a_running_broker.py"
APPROVALS = "attacks/test_approvals.py"
DECLASSIFYING = "attacks/test_declassifying.py"
AGREED = "attacks/test_agreed_calls.py"
APPROVALS_BY_API = "attacks/test_approvals_by_api.py"
ASSERTIONS = "attacks/test_assertions.py"
ATTESTATION = "attacks/test_attestation.py"
VOUCHED = "attacks/test_vouched_agents.py"
LAUNCHED = "attacks/test_launched_agents.py"
DELEGATION = "attacks/test_delegation.py"
DPOP = "attacks/test_dpop.py"
FEDERATION = "attacks/test_federation.py"
KEY_ADDRESSES = "attacks/test_key_addresses.py"
REPEATED = "attacks/test_repeated_calls.py"
TIMING = "attacks/test_timing.py"
FLOW = "attacks/test_information_flow.py"
TRUST = "e2e/test_trust.py"
REPUTATION = "unit/test_reputation.py"
TRUST_SCORE = "unit/trust/test_score.py"
PAYLOADS = "attacks/test_payloads.py"


@dataclass(frozen=True, slots=True)
class Requirement:
    """`area:feature[:variant]`, what is promised, and the tests that try to break it, by file under `tests/`."""

    id: str
    promise: str
    tests: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Threat:
    """What somebody may try."""

    name: str
    who: str
    requirements: tuple[Requirement, ...]


THREATS = (
    Threat(
        "Forged and stolen tokens",
        "Somebody without credentials makes, bends or replays a token.",
        (
            Requirement(
                "identity:token:form",
                "Only a compact ES256 JWS with exactly our header is a token; nothing in a token chooses how"
                " it is checked.",
                {
                    TOKENS: (
                        "test_the_forgers_tools_make_a_token_that_is_accepted_as_long_as_nothing_is_wrong_with_it",
                        "test_only_es256_is_an_algorithm",
                        "test_a_token_without_a_signature_is_none",
                        "test_the_public_key_is_not_a_shared_secret",
                        "test_a_header_with_anything_more_than_ours_is_refused_though_genuinely_signed",
                        "test_a_key_that_comes_with_the_token_is_not_used",
                        "test_a_key_id_that_is_not_ours_is_refused",
                        "test_a_header_that_lacks_something_is_refused",
                        "test_a_token_of_another_type_is_not_an_access_token",
                        "test_names_that_occur_twice_are_refused_in_header_and_claims",
                        "test_line_breaks_blanks_and_padding_do_not_make_a_second_spelling",
                        "test_changing_any_part_of_a_token_breaks_it",
                        "test_a_client_secret_or_a_seal_is_not_a_token",
                        "test_a_token_that_is_too_large_is_not_even_hashed",
                    )
                },
            ),
            Requirement(
                "identity:token:claims",
                "A token is for this resource, from this issuer, complete, and no older than it says.",
                {
                    TOKENS: (
                        "test_a_token_for_or_from_somebody_else_is_refused",
                        "test_a_token_of_another_deployment_with_the_same_key_is_refused",
                        "test_a_token_that_lacks_a_claim_is_refused",
                        "test_a_claim_of_the_wrong_type_is_refused",
                        "test_a_time_that_is_not_a_plain_number_of_seconds_is_refused",
                        "test_a_lifetime_that_this_broker_never_gives_is_refused",
                        "test_an_expired_token_says_only_how_late_it_is",
                    ),
                    "e2e/test_bad_input.py": (
                        "test_a_token_that_is_not_ours_is_refused_without_saying_which_check_failed",
                        "test_an_expired_token_is_told_that_it_expired",
                    ),
                },
            ),
            Requirement(
                "identity:token:place",
                "A token is read from one Authorization header and from nowhere else.",
                {
                    TOKENS: ("test_a_token_anywhere_but_in_the_header_is_not_read",),
                    WIRE: ("test_two_tokens_are_no_token", "test_a_token_in_the_address_is_no_token"),
                },
            ),
            Requirement(
                "identity:agent:live",
                "The agent behind a token is looked at on every call: one that is suspended or gone is refused"
                " at once.",
                {
                    TOKENS: (
                        "test_a_live_token_of_a_suspended_agent_stops_working_at_once",
                        "test_a_token_of_an_agent_that_never_existed_is_refused",
                    ),
                    MCP: ("test_a_token_that_was_good_is_of_no_use_within_its_session_once_it_is_not",),
                    "contract/test_people.py": (
                        "test_a_suspension_by_another_process_holds_for_the_very_next_question",
                    ),
                    "e2e/test_bad_input.py": (
                        "test_a_suspended_agent_is_refused_at_its_next_call_and_let_in_again_when_resumed",
                        "test_a_token_of_an_agent_that_is_gone_is_refused",
                    ),
                },
            ),
            Requirement(
                "identity:credential:end",
                "A token, whatever was delegated with it, and calls under way end with the one credential or signing"
                " key behind it.",
                {
                    CREDENTIALS: (
                        "test_a_token_ends_with_the_secret_that_it_was_issued_for_and_no_other_token_does",
                        "test_a_token_of_a_secret_in_its_grace_is_good_no_longer_than_that",
                        "test_a_token_ends_with_the_key_that_it_was_issued_for_and_not_with_another_one",
                        "test_what_was_delegated_with_a_credential_ends_with_it_in_either_form",
                        "test_a_token_that_was_taken_up_ends_with_the_credential_of_who_took_it_up",
                        "test_nothing_more_is_handed_on_with_a_token_of_a_credential_that_is_gone",
                        "test_the_drop_of_a_signing_key_ends_its_tokens_and_whatever_was_delegated",
                        "test_a_call_that_runs_ends_with_the_credential_or_the_key_behind_its_token",
                        "test_what_a_call_lets_others_do_ends_while_they_do_it_when_the_call_is_over",
                    ),
                    "contract/test_standing.py": (
                        "test_no_intent_follows_the_end_of_the_credential_that_its_token_was_issued_for",
                        "test_a_chain_ends_with_the_credential_that_any_of_its_hops_was_granted_with",
                        "test_no_intent_follows_the_drop_of_the_key_that_signed_its_token_and_what_it_delegated_ends",
                    ),
                },
            ),
            Requirement(
                "identity:token:secrecy",
                "No token and no secret stands in a log, an error or a representation.",
                {
                    ENDPOINT: ("test_no_token_is_ever_logged",),
                    WIRE: ("test_the_server_s_own_log_holds_no_token_and_no_accident",),
                    "unit/identity/test_keys.py": ("test_no_key_shows_in_a_representation",),
                },
            ),
        ),
    ),
    Threat(
        "Borrowed authority",
        "An agent, or somebody with its token, acts for others without having been asked, or beyond what it was.",
        (
            Requirement(
                "delegation:chain",
                "Nobody below can do what somebody above could not; a hop is bound to its agent, its call and its time.",
                {
                    DELEGATION: (
                        "test_without_an_attack_delegation_works_in_both_ways",
                        "test_a_stolen_delegation_token_is_worth_nothing_to_another_agent",
                        "test_a_list_under_a_delegation_that_does_not_stand_shows_nothing",
                        "test_a_delegation_token_alone_is_no_bearer_token",
                        "test_an_access_token_is_no_delegation_token",
                        "test_a_delegation_is_over_when_the_call_that_it_came_with_has_ended",
                        "test_a_foreign_subject_token_cannot_be_spliced_into_a_chain",
                        "test_two_delegations_cannot_be_combined",
                        "test_nothing_is_handed_on_that_was_not_given",
                        "test_limits_that_are_not_understood_are_not_taken_for_none",
                        "test_a_call_beyond_the_limits_names_the_hop_that_forbids_it_and_lists_show_none_of_it",
                        "test_the_weakest_of_a_chain_decides_and_a_demotion_reaches_everything_below",
                        "test_a_chain_cannot_come_back_to_somebody_in_it",
                        "test_an_agent_that_may_not_delegate_cannot_do_it_by_calling_an_agent_either",
                        "test_revoking_a_hop_ends_it_and_everything_below_at_the_next_call",
                        "test_revoking_a_token_ends_what_was_delegated_with_it",
                        "test_nobody_acts_below_an_actor_that_was_suspended",
                        "test_nobody_delegates_into_another_organisation_or_to_somebody_who_may_not_act",
                        "test_a_parent_that_is_only_claimed_is_never_believed",
                        "test_a_delegation_decides_which_call_is_the_parent_whatever_is_claimed",
                        "test_a_slice_of_a_budget_holds_for_everybody_below_it_together",
                        "test_no_more_calls_are_made_than_were_handed_on_however_many_try_at_once",
                        "test_a_token_for_a_hop_that_was_never_recorded_is_worth_nothing",
                        "test_an_agent_that_is_suspended_is_not_called_as_a_tool_either",
                    )
                },
            ),
        ),
    ),
    Threat(
        "Forged credentials",
        "Somebody signs, alters, borrows or replays what a client proves itself with.",
        (
            Requirement(
                "oauth:assertion",
                "A client assertion is signed by a registered key, for this server, short-lived and used once.",
                {
                    ASSERTIONS: (
                        "test_a_genuine_assertion_gets_a_token_and_used_again_it_gets_none",
                        "test_an_assertion_of_somebody_else_s_key_is_refused",
                        "test_the_key_of_one_client_does_not_speak_for_another",
                        "test_a_client_id_beside_the_assertion_has_to_be_its_subject",
                        "test_the_algorithm_is_what_the_registered_key_is_for",
                        "test_an_unsigned_assertion_is_refused",
                        "test_the_public_key_is_not_a_shared_secret",
                        "test_a_client_secret_is_not_a_key_to_sign_with",
                        "test_whatever_else_a_header_holds_makes_it_no_assertion_though_genuinely_signed",
                        "test_a_key_that_comes_with_the_assertion_is_not_used",
                        "test_a_key_id_that_the_client_has_not_registered_is_refused",
                        "test_a_token_of_another_type_is_not_an_assertion",
                        "test_an_assertion_for_somebody_else_or_for_others_too_is_refused",
                        "test_with_a_strict_audience_the_token_endpoint_is_none",
                        "test_expired_future_and_long_lived_assertions_are_refused",
                        "test_an_assertion_that_does_not_hold_yet_is_refused",
                        "test_a_time_that_is_not_a_plain_number_of_seconds_is_refused",
                        "test_an_assertion_that_lacks_a_claim_is_refused",
                        "test_a_claim_of_the_wrong_type_is_refused",
                        "test_names_that_occur_twice_are_refused_in_header_and_claims",
                        "test_changing_any_part_of_an_assertion_breaks_it_and_does_not_use_it_up",
                        "test_an_assertion_has_one_spelling",
                        "test_a_huge_assertion_is_not_read",
                        "test_an_assertion_is_no_access_token_and_an_access_token_no_assertion",
                        "test_an_assertion_of_another_type_is_not_read",
                        "test_two_methods_at_once_are_refused_and_leave_the_assertion_unused",
                        "test_a_genuine_assertion_of_a_suspended_agent_is_refused",
                        "test_no_assertion_is_ever_logged",
                    )
                },
            ),
            Requirement(
                "oauth:dpop",
                "A token that is bound to a key is worth nothing without a fresh proof by that key.",
                {
                    DPOP: (
                        "test_who_has_the_key_may_use_the_token_with_a_new_proof_each_time",
                        "test_a_client_without_a_proof_gets_a_bearer_token_as_ever",
                        "test_a_bound_token_is_worth_nothing_as_a_bearer_token",
                        "test_a_bound_token_asks_no_model_without_a_proof_for_that_very_address",
                        "test_a_bearer_token_is_not_made_better_by_a_proof",
                        "test_a_proof_is_good_once_at_either_endpoint",
                        "test_the_proof_of_another_key_does_not_help",
                        "test_a_proof_for_another_request_does_not_help",
                        "test_query_and_fragment_of_the_address_are_not_compared",
                        "test_a_proof_that_was_not_made_just_now_is_refused",
                        "test_a_proof_that_lacks_something_is_refused",
                        "test_what_is_not_the_header_of_a_proof_is_refused",
                        "test_proofs_of_strangers_do_not_fill_the_store",
                        "test_two_proofs_are_none",
                        "test_a_bound_token_is_not_exchanged_for_one_without_a_key",
                        "test_a_bound_token_is_exchanged_with_a_proof_of_its_own_key_only",
                        "test_its_client_learns_that_a_token_is_bound",
                    )
                },
            ),
            Requirement(
                "oauth:federation",
                "A workload is the one agent that is written down for it, and an issuer speaks for its own only.",
                {
                    FEDERATION: (
                        "test_a_workload_is_the_agent_that_is_written_down_for_it_as_often_as_it_asks",
                        "test_a_workload_that_is_not_written_down_is_nobody",
                        "test_a_token_that_fits_two_agents_fits_none",
                        "test_a_workload_cannot_ask_for_another_agent",
                        "test_an_issuer_speaks_for_its_own_workloads_with_its_own_keys_only",
                        "test_neither_an_own_key_nor_a_federated_one_signs_for_the_other_side",
                        "test_a_token_for_somebody_else_or_not_for_now_is_refused",
                        "test_the_header_counts_as_little_as_for_own_assertions",
                        "test_names_that_occur_twice_are_refused",
                        "test_an_own_audience_may_be_set_and_is_then_the_only_one",
                        "test_a_suspended_agent_is_refused_whoever_vouches_for_it",
                        "test_new_keys_of_an_issuer_are_taken_into_use_and_a_damaged_file_is_not",
                        "test_a_key_set_that_cannot_be_used_stops_the_start",
                        "test_an_issuer_is_configured_once",
                        "test_an_agent_without_any_claim_would_be_everybody_and_is_not_accepted",
                    )
                },
            ),
            Requirement(
                "oauth:keys:fetched",
                "What is published at a `jwks_uri` signs for its owner only, and cannot be had asked for over and over.",
                {
                    KEY_ADDRESSES: (
                        "test_an_agent_that_publishes_its_keys_needs_none_registered",
                        "test_only_what_is_published_signs",
                        "test_a_key_that_was_swapped_is_refused_and_the_new_one_taken",
                        "test_what_is_published_signs_for_its_own_agent_only",
                        "test_a_stranger_who_names_keys_that_nobody_has_makes_nobody_ask_for_them_over_and_over",
                        "test_whatever_is_wrong_with_an_address_is_one_refusal_like_that_of_a_stranger",
                        "test_a_slow_address_holds_up_nobody_else",
                        "test_an_issuer_may_publish_its_keys_too",
                        "test_an_issuer_has_its_keys_in_one_place",
                    )
                },
            ),
            Requirement(
                "oauth:keys:egress",
                "Fetching keys reaches no address that it must not, follows nobody, and has an end in size and time.",
                {
                    KEY_ADDRESSES: (
                        "test_without_an_attack_a_document_is_fetched_with_nothing_but_a_plain_get",
                        "test_this_machine_is_not_reached_under_any_of_its_names",
                        "test_metadata_services_and_what_leads_there_are_never_asked",
                        "test_a_name_that_changes_its_mind_is_judged_by_the_address_that_is_connected_to",
                        "test_plain_http_does_not_leave_this_machine_even_where_private_networks_are_meant",
                        "test_a_redirect_is_not_followed",
                        "test_a_document_without_an_end_is_read_only_up_to_its_limit",
                        "test_what_is_packed_small_is_not_unpacked",
                        "test_a_server_that_takes_its_time_is_given_up",
                        "test_what_is_no_http_is_a_failure",
                        "test_an_address_that_keys_must_not_come_from_is_not_taken_down",
                        "test_not_everything_is_meant_where_private_networks_are",
                    )
                },
            ),
            Requirement(
                "oauth:client:timing",
                "Whether a client exists shows neither in the work done nor in its order.",
                {
                    TIMING: (
                        "test_whatever_secret_is_tried_for_whomever_digests_are_compared_in_constant_time",
                        "test_an_assertion_of_an_unknown_client_takes_a_signature_check_like_a_known_one",
                        "test_what_cannot_be_read_is_refused_without_asking_for_anybody_s_credentials",
                    )
                },
            ),
            Requirement(
                "identity:attestation",
                "A manifest counts as its owner signed it, for its agent, until it ends.",
                {
                    ATTESTATION: (
                        "test_a_manifest_that_its_owner_signed_counts",
                        "test_without_a_signature",
                        "test_with_the_public_key_as_a_shared_secret",
                        "test_signed_by_somebody_else",
                        "test_with_another_algorithm_of_the_same_key_than_it_is_pinned_to",
                        "test_with_one_claim_altered_after_signing",
                        "test_with_a_header_that_brings_its_own_key_or_says_it_is_something_else",
                        "test_written_in_another_way_than_the_canonical_one",
                        "test_with_a_claim_given_twice",
                        "test_with_a_claim_left_out_or_of_another_type",
                        "test_with_a_claim_that_nobody_knows",
                        "test_with_an_end_that_no_clock_reaches",
                        "test_that_has_ended_or_lasts_too_long",
                        "test_with_a_digest_that_is_none",
                        "test_with_half_a_character",
                        "test_of_another_agent",
                        "test_that_says_another_model_than_the_record",
                        "test_made_of_noise",
                        "test_canonical_here_is_canonical_everywhere",
                    )
                },
            ),
            Requirement(
                "identity:attestation:running",
                "An agent that says it is something else than was signed gets no token, or falls to A0 until an"
                " operator has looked; nobody but itself can make it drift, and nobody is told the reason.",
                {
                    ATTESTATION: (
                        "test_an_agent_that_says_it_is_something_else_than_was_signed_gets_no_token",
                        "test_where_it_is_narrowed_the_level_falls_and_stays_down_until_an_operator_has_looked",
                        "test_an_ended_manifest_is_worth_nothing_to_the_agent_that_names_it",
                        "test_where_it_is_required_nothing_gets_a_token_that_does_not_name_its_manifest",
                        "test_a_stranger_cannot_make_an_agent_drift",
                        "test_a_client_with_a_manifest_says_so_by_itself_and_one_with_an_old_one_is_found_out",
                        "test_an_agent_that_drifts_loses_what_it_might_do_until_an_operator_has_looked",
                    )
                },
            ),
            Requirement(
                "identity:attestation:vouched",
                "Who a platform vouches for is at A3 with that token alone, no longer than its manifest holds, and"
                " hands it on to nobody.",
                {
                    VOUCHED: (
                        "test_a_workload_that_its_platform_vouches_for_is_at_a3_and_its_calls_say_so",
                        "test_who_shows_a_secret_of_the_same_agent_is_not_at_a3",
                        "test_a_manifest_that_has_ended_or_is_contradicted_outweighs_the_platform_at_once",
                        "test_a_suspended_agent_that_is_vouched_for_is_refused_like_any_other",
                        "test_being_vouched_for_is_neither_handed_on_nor_taken_from_who_acts_for_another",
                        "test_a_token_that_says_in_any_other_way_that_its_client_is_vouched_for_is_none",
                        "test_nobody_is_raised_who_was_not_vouched_for_and_nobody_is_that_is_contradicted",
                    )
                },
            ),
            Requirement(
                "identity:attestation:launched",
                "What the broker has started is at A3 with the secret of that launch alone, until the launch ends and"
                " as long as its code is what was signed.",
                {
                    LAUNCHED: (
                        "test_a_launched_agent_is_at_a3_and_the_log_says_which_instance_of_what_code",
                        "test_the_standing_secret_of_a_launched_agent_does_not_get_to_a3",
                        "test_the_secret_and_the_tokens_of_an_ended_launch_are_refused_to_whoever_has_copied_them",
                        "test_the_end_of_one_launch_is_not_the_end_of_another_and_neither_is_the_others",
                        "test_a_launch_whose_time_is_over_is_refused_though_nobody_has_ended_it",
                        "test_a_launch_is_of_one_agent_and_no_other",
                        "test_a_rotation_for_a_leak_ends_the_launches_as_well",
                        "test_code_that_is_not_what_was_signed_takes_the_level_of_a_launch",
                    )
                },
            ),
        ),
    ),
    Threat(
        "The token endpoint",
        "Somebody guesses secrets, finds out which agents exist, or confuses the endpoint.",
        (
            Requirement(
                "oauth:client:uniform",
                "Unknown, wrong, suspended and missing credentials are one answer, in the same time.",
                {
                    ENDPOINT: (
                        "test_unknown_wrong_suspended_and_missing_are_one_answer_byte_for_byte",
                        "test_a_wrong_secret_takes_the_store_the_same_way_as_an_unknown_client",
                        "test_a_refusal_is_recorded_only_after_it_was_sent_so_that_recording_tells_nothing",
                    )
                },
            ),
            Requirement(
                "oauth:client:guessing",
                "Guessing is slowed down for each client and address; nobody is locked out from elsewhere.",
                {
                    ENDPOINT: (
                        "test_guessing_is_slowed_down_here_and_nobody_is_locked_out_elsewhere",
                        "test_an_unknown_client_is_slowed_down_just_like_a_known_one",
                    ),
                    "unit/identity/test_clients.py": (
                        "test_however_many_pairs_fail_only_so_many_are_remembered",
                    ),
                },
            ),
            Requirement(
                "oauth:request:unambiguous",
                "What can be read in two ways is refused: two ways to authenticate, repeated or misplaced"
                " parameters, other methods.",
                {
                    ENDPOINT: (
                        "test_two_ways_to_authenticate_at_once_are_refused_even_if_both_are_right",
                        "test_malformed_credentials_are_wrong_credentials",
                        "test_only_post_gives_tokens",
                        "test_what_is_not_one_clear_form_is_refused_before_the_secret_is_looked_at",
                        "test_secrets_in_the_url_are_refused",
                        "test_a_huge_body_is_not_read",
                    )
                },
            ),
            Requirement(
                "oauth:scope:narrow",
                "A token is for the MCP endpoint alone and has no more scope than there is; only a recorded token"
                " is handed out.",
                {
                    "unit/edges/test_oauth.py": (
                        "test_asking_for_too_much_gives_what_there_is_and_never_invalid_scope",
                        "test_a_wrong_resource_is_an_invalid_target_and_recorded",
                        "test_a_token_that_cannot_be_recorded_is_not_handed_out",
                    )
                },
            ),
        ),
    ),
    Threat(
        "Ways around the policy",
        "An agent reaches for what it may not use; an upstream names its tools so that rules mean something else.",
        (
            Requirement(
                "policy:default:refuse",
                "What nothing permits is refused; so is whatever cannot be evaluated, is unknown or ambiguous.",
                {
                    BYPASS: (
                        "test_a_target_that_the_engine_was_not_told_of_is_refused_even_to_a_role_that_may_everything",
                        "test_a_forbid_that_cannot_be_evaluated_refuses_although_cedar_would_allow",
                        "test_a_policy_set_that_fails_while_it_is_asked_permits_nothing",
                        "test_a_rule_on_a_label_holds_for_what_has_it_also_when_it_was_judged_without_before",
                        "test_an_error_in_a_rule_about_one_actor_refuses_the_whole_chain",
                        "test_a_question_that_cedar_cannot_read_is_no_decision_and_counts_as_failed",
                        "test_an_agent_whose_names_cedar_cannot_read_is_refused_and_nothing_breaks",
                        "test_two_targets_of_one_name_are_both_refused_for_nobody_knows_which_is_meant",
                        "test_a_name_that_is_no_unicode_text_takes_only_itself_out_of_reach",
                    ),
                    "e2e/test_bad_configuration.py": (
                        "test_a_broken_role_file_leaves_the_old_policy_in_force_until_it_is_mended",
                        "test_a_broker_whose_policies_are_broken_at_start_does_not_start",
                    ),
                },
            ),
            Requirement(
                "policy:arguments:exact",
                "A rule about an argument judges every value that will be sent, exactly, or the call is refused.",
                {
                    BYPASS: (
                        "test_no_spelling_of_an_amount_gets_past_a_limit_on_it",
                        "test_an_amount_just_below_a_limit_is_not_lifted_over_it_by_an_answer_that_was_kept",
                        "test_what_is_kept_of_one_call_is_never_the_answer_to_another",
                        "test_one_bad_item_hidden_in_a_long_list_is_found_or_the_list_is_refused",
                        "test_where_nobody_says_where_a_destination_comes_from_it_counts_as_unseen",
                        "test_long_arguments_that_rules_look_at_are_judged_and_not_kept",
                        "test_a_rule_that_would_read_what_the_context_may_lack_is_not_loaded",
                    ),
                    "unit/test_arguments.py": (
                        "test_a_number_is_exact_in_the_smallest_unit_or_unreadable",
                        "test_each_different_item_of_every_list_on_the_way_is_a_value",
                    ),
                },
            ),
            Requirement(
                "policy:consent:bound",
                "A human's consent lifts the rule that asked for it and nothing else.",
                {BYPASS: ("test_consent_to_one_rule_is_no_consent_to_another_nor_to_what_no_rule_asks_for",)},
            ),
            Requirement(
                "policy:terms:redact",
                "A value that a rule takes out of a result reaches the caller in no form.",
                {
                    "unit/test_redaction.py": (
                        "test_what_has_no_structure_is_withheld_as_a_whole",
                        "test_no_document_keeps_a_value_at_a_path_that_is_taken_out",
                        "test_whoever_must_not_read_a_value_hears_no_words_while_the_call_is_open",
                    ),
                },
            ),
            Requirement(
                "policy:names:data",
                "Names of targets are data: no upstream can write policy, and only the exact name is meant.",
                {
                    BYPASS: (
                        "test_no_name_that_an_upstream_chooses_is_read_as_policy",
                        "test_only_the_exact_name_is_permitted_whatever_else_is_offered",
                        "test_a_template_does_not_take_on_the_permission_of_a_resource_of_the_same_name",
                        "test_roles_and_names_differ_by_case",
                        "test_targets_that_look_alike_to_roles_are_judged_apart_where_a_rule_names_one",
                        "test_agents_that_share_their_roles_are_judged_apart_where_a_rule_names_one",
                        "test_a_rule_whose_effect_is_commented_out_by_accident_is_not_silently_dropped",
                    ),
                    "unit/catalog/test_names.py": (
                        "test_different_tools_of_one_connector_never_share_an_exposed_name",
                    ),
                },
            ),
            Requirement(
                "policy:hidden:same",
                "A target that is hidden and one that is missing give the same answer.",
                {
                    MCP: ("test_hidden_and_missing_targets_give_the_same_bytes_in_both_eras",),
                    "unit/test_pipeline.py": (
                        "test_hidden_and_missing_give_the_same_answer_and_run_no_guard",
                    ),
                    "e2e/test_bad_input.py": (
                        "test_a_hidden_tool_answers_exactly_like_one_that_does_not_exist",
                    ),
                },
            ),
            Requirement(
                "policy:path:one",
                "Tools, resources, prompts and completions all take one path, in one order; listing and calling"
                " agree.",
                {
                    "unit/test_pipeline.py": (
                        "test_the_steps_come_in_the_order_that_the_security_argument_needs",
                        "test_every_governed_method_takes_the_same_path",
                        "test_the_policy_judges_what_will_really_be_sent",
                    ),
                    "unit/policy/test_engine.py": (
                        "test_what_is_listed_can_be_called_and_nothing_else_whatever_the_roles",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "A human's word",
        "An agent acts without the human whom a rule asks, or on what a human has said about something else.",
        (
            Requirement(
                "approvals:bound",
                "An approval is for one target, final arguments, agent, chain, transaction and set of rules;"
                " whatever differs is asked about anew.",
                {
                    APPROVALS: (
                        "test_without_an_attack_a_call_is_held_approved_and_made_once",
                        "test_arguments_that_change_after_the_approval_are_asked_about_anew",
                        "test_another_agent_does_not_act_on_an_approval_of_the_same_call",
                        "test_what_was_approved_for_an_agent_alone_is_not_approved_for_it_on_behalf_of_another",
                        "test_what_was_approved_under_one_delegation_is_not_approved_under_another",
                        "test_what_was_approved_in_one_transaction_is_not_approved_in_the_next",
                        "test_a_task_goes_on_under_a_new_token_and_so_does_what_was_approved_for_it",
                        "test_another_target_with_the_same_arguments_is_not_what_was_approved",
                        "test_what_is_approved_for_a_chain_holds_there_until_its_end_and_nowhere_else",
                        "test_what_is_approved_for_an_agent_is_not_approved_for_it_in_another_chain",
                    )
                },
            ),
            Requirement(
                "approvals:once",
                "An approval opens one call, in time, however many ask at once, in whichever process, before"
                " or after a restart.",
                {
                    APPROVALS: (
                        "test_an_approval_is_used_once",
                        "test_of_many_calls_at_once_on_one_approval_one_is_made",
                        "test_two_processes_that_use_one_approval_at_once_open_one_call",
                        "test_an_answer_that_comes_too_late_and_an_approval_that_is_used_too_late_count_for_nothing",
                        "test_an_approval_that_was_taken_back_opens_no_call",
                        "test_a_restart_neither_loses_an_approval_nor_lets_it_be_used_twice",
                    ),
                    "contract/test_approvals.py": (
                        "test_two_processes_that_use_an_approval_at_once_open_one_call",
                        "test_no_call_is_opened_on_what_is_only_asked_denied_taken_back_or_unknown",
                    ),
                },
            ),
            Requirement(
                "approvals:who",
                "Only whoever may decide does, as often as one person can, and every attempt is recorded with"
                " what came of it.",
                {
                    APPROVALS: (
                        "test_whoever_may_not_approve_is_refused_and_that_is_recorded",
                        "test_one_person_does_not_approve_twice_where_two_have_to",
                        "test_who_owns_an_agent_of_the_chain_does_not_approve_for_it_where_that_is_ruled",
                        "test_of_an_approval_and_a_denial_at_the_same_time_one_counts_and_the_call_goes_by_it",
                        "test_a_denial_reaches_the_agent_and_is_not_overcome_by_repeating_the_call",
                        "test_a_caller_that_goes_away_while_a_human_thinks_leaves_the_end_of_its_call_in_the_log",
                        "test_an_agent_cannot_flood_the_humans",
                    ),
                    APPROVALS_BY_API: (
                        "test_without_an_attack_an_operator_sees_what_will_be_sent_and_approves_it_once",
                        "test_what_an_operator_approves_for_a_chain_holds_there_until_it_is_taken_back",
                        "test_what_an_operator_says_no_to_is_told_to_the_agent_and_not_overcome_by_approving_it",
                        "test_without_the_right_to_approvals_nobody_decides_or_reads_what_would_be_sent",
                        "test_the_right_alone_is_not_enough_where_others_are_asked_or_the_owner_is_ruled_out",
                        "test_an_operator_and_the_same_name_at_the_machine_are_one_pair_of_eyes",
                        "test_an_agreement_that_is_not_clear_is_none",
                        "test_of_an_approval_and_a_denial_at_once_by_two_ways_one_counts",
                        "test_pages_of_approvals_show_each_once",
                    ),
                    "e2e/test_humans.py": (
                        "test_what_a_guard_wants_a_human_to_see_goes_out_once_as_they_saw_it",
                        "test_a_call_that_a_guard_holds_goes_on_in_place_when_another_process_says_yes",
                        "test_of_a_yes_over_the_api_and_a_no_of_another_process_at_once_one_counts",
                    ),
                },
            ),
            Requirement(
                "approvals:live",
                "What a human has said is no more than one condition: everything else is decided again when the"
                " call is made.",
                {
                    APPROVALS: (
                        "test_an_agent_that_was_suspended_after_the_approval_does_not_act_on_it",
                        "test_a_suspension_while_a_call_waits_for_its_answer_is_not_undone_by_the_answer",
                        "test_a_rule_that_came_after_the_approval_is_obeyed",
                        "test_an_approval_that_would_not_do_any_more_is_not_used",
                        "test_what_was_read_after_the_approval_is_judged_when_the_call_is_made",
                    )
                },
            ),
            Requirement(
                "approvals:content",
                "The arguments that a human reads lie nowhere in the open, and no longer than they are needed.",
                {APPROVALS: ("test_no_file_of_the_state_holds_the_arguments_that_a_human_is_shown",)},
            ),
        ),
    ),
    Threat(
        "The wire",
        "Somebody sends bytes that two parts of the system read differently, or that exhaust one.",
        (
            Requirement(
                "wire:stranger:nothing",
                "Nothing is read or run for a stranger.",
                {
                    MCP: ("test_a_stranger_is_refused_before_anything_is_read",),
                    WIRE: (
                        "test_the_call_that_all_attacks_vary_is_answered",
                        "test_another_spelling_of_the_path_is_no_way_around_authentication",
                    ),
                    "unit/test_pipeline.py": ("test_a_stranger_leaves_no_record_and_reaches_nothing",),
                },
            ),
            Requirement(
                "wire:headers:agree",
                "What headers say and what the body says is the same, or the request is refused.",
                {
                    MCP: (
                        "test_headers_that_name_a_permitted_tool_do_not_open_the_way_to_another",
                        "test_an_annotated_argument_that_says_something_else_than_its_header_is_refused",
                    ),
                    WIRE: (
                        "test_the_name_in_the_header_does_not_open_what_the_body_asks_for",
                        "test_a_repeated_name_header_is_refused",
                        "test_a_name_given_twice_in_the_body_never_reaches_the_hidden_tool",
                    ),
                },
            ),
            Requirement(
                "wire:host:checked",
                "Host and Origin are checked on every route: no rebinding, no page of another origin.",
                {
                    WIRE: (
                        "test_a_second_host_is_refused",
                        "test_a_missing_host_is_refused",
                        "test_a_host_that_was_rebound_to_us_is_refused",
                        "test_a_web_page_of_somebody_else_is_refused",
                    ),
                    "unit/edges/test_http.py": (
                        "test_a_broker_that_is_not_on_loopback_does_not_answer_to_loopback_names",
                        "test_of_two_origins_one_foreign_is_enough_to_be_refused",
                    ),
                },
            ),
            Requirement(
                "wire:http:framing",
                "A request has one framing, an end, and plain bytes.",
                {
                    WIRE: (
                        "test_two_framings_of_one_body_are_refused",
                        "test_a_malformed_header_line_is_refused",
                        "test_a_head_without_end_is_cut_off",
                        "test_a_body_without_end_is_refused_before_it_is_read",
                        "test_a_declared_body_over_the_limit_is_refused_without_waiting_for_it",
                        "test_a_body_that_stops_in_the_middle_calls_nothing",
                        "test_a_compressed_body_is_not_unpacked",
                        "test_a_hundred_connections_that_say_nothing_stop_nobody",
                    ),
                    MCP: ("test_a_body_over_the_limit_is_not_read_to_its_end",),
                },
            ),
            Requirement(
                "wire:message:shape",
                "A message of another shape is refused with its own code; none makes the server fail.",
                {
                    MCP: (
                        "test_a_body_that_is_no_message_is_refused_with_its_own_code",
                        "test_a_response_sent_to_the_modern_endpoint_is_refused",
                        "test_media_types_are_checked_in_both_eras",
                        "test_no_parameters_whatever_make_the_endpoint_fail",
                        "test_no_body_whatever_makes_the_endpoint_fail",
                    ),
                    WIRE: (
                        "test_arguments_nested_beyond_reason_are_refused",
                        "test_values_that_json_allows_and_programs_do_not_expect_are_no_server_error",
                    ),
                },
            ),
            Requirement(
                "wire:session:own",
                "A session and the state of a question serve the agent that began them, here, and hold no"
                " authority.",
                {
                    MCP: (
                        "test_a_session_of_another_deployment_is_unknown_here",
                        "test_a_client_cannot_make_its_session_id_longer_than_a_header_may_be",
                        "test_progress_and_questions_after_the_end_reach_nobody",
                    ),
                    "unit/edges/test_mcp_legacy.py": (
                        "test_without_a_session_with_a_made_up_one_or_anothers_nothing_is_served",
                        "test_nobody_else_can_answer_a_question",
                    ),
                    "unit/edges/test_mcp_rounds.py": (
                        "test_a_state_that_was_changed_or_belongs_to_another_call_is_refused",
                        "test_a_state_of_another_principal_is_refused",
                    ),
                    "unit/identity/test_seals.py": (
                        "test_nothing_that_was_not_sealed_can_be_opened",
                        "test_a_seal_for_one_purpose_does_not_open_for_another",
                    ),
                },
            ),
            Requirement(
                "wire:stream:own",
                "What is left of a broken stream is kept within limits and fetched once, by the session that"
                " made the call.",
                {
                    MCP: (
                        "test_nobody_fetches_the_rest_of_anothers_stream",
                        "test_an_event_id_is_of_no_use_once_its_session_or_its_token_is_not",
                        "test_a_made_up_event_id_opens_an_ordinary_stream",
                        "test_an_event_id_of_a_process_that_is_no_more_opens_an_ordinary_stream",
                    ),
                    "unit/edges/test_mcp_resumption.py": ("test_a_response_is_handed_out_once",),
                    "unit/edges/test_mcp_trails.py": (
                        "test_a_response_is_kept_for_five_minutes",
                        "test_one_agent_keeps_a_limited_number_and_amount_and_takes_no_room_from_another",
                        "test_all_that_is_kept_has_a_limit_whatever_is_said",
                    ),
                },
            ),
            Requirement(
                "wire:result:inside",
                "Nothing an upstream says breaks out of the message or the terminal it is shown in.",
                {
                    MCP: ("test_a_result_cannot_break_out_of_its_event",),
                    "unit/cli/test_frame.py": ("test_what_an_agent_wrote_cannot_steer_the_terminal",),
                },
            ),
            Requirement(
                "wire:encryption:required",
                "Tokens and secrets do not cross a network in the clear: any address but loopback needs TLS.",
                {
                    "unit/test_settings.py": (
                        "test_an_address_that_others_can_reach_needs_tls_or_a_proxy",
                        "test_a_public_url_without_encryption_is_refused",
                    )
                },
            ),
        ),
    ),
    Threat(
        "The endpoints of models",
        "An agent asks for a model that it may not use, or a model writes what a client or a proxy takes for "
        "something else than text.",
        (
            Requirement(
                "models:caller",
                "Who asks is told by one token in a header, never in the address; two that differ are none. "
                "Pages of other sites and other names of the host are turned away.",
                {
                    MODELS: (
                        "test_a_token_in_the_address_is_not_read",
                        "test_who_presents_two_credentials_is_nobody",
                        "test_repeated_api_keys_are_no_choice",
                        "test_pages_of_other_sites_and_other_names_are_turned_away",
                        "test_headers_that_speak_to_the_broker_are_there_once_and_plain",
                        "test_a_raw_request_with_a_line_break_in_a_header_reaches_nobody",
                    ),
                },
            ),
            Requirement(
                "models:name",
                "The model that is judged is the model that is called. A hidden one cannot be reached by any "
                "name and is not listed.",
                {
                    MODELS: (
                        "test_a_hidden_model_has_no_name_that_reaches_it",
                        "test_nothing_but_the_body_names_the_model",
                        "test_a_model_that_is_named_twice_is_the_one_that_is_judged_and_called",
                    ),
                },
            ),
            Requirement(
                "models:body",
                "Bodies that are too large or too deep are refused before anybody walks them, and what is said "
                "about the usage of a stream does not change what is metered.",
                {
                    MODELS: (
                        "test_a_body_without_a_declared_length_is_cut_off_at_the_limit",
                        "test_deep_json_is_refused_before_anybody_walks_it",
                        "test_a_stream_is_metered_whatever_is_said_about_its_usage",
                    ),
                },
            ),
            Requirement(
                "models:framing",
                "Nothing that a model, a provider or a caller writes becomes a header, a line or the end of a "
                "stream.",
                {
                    MODELS: (
                        "test_no_text_of_a_model_a_provider_or_a_caller_becomes_a_header",
                        "test_text_of_a_model_cannot_begin_a_line_of_the_stream",
                        "test_a_type_that_is_no_name_does_not_name_an_event",
                        "test_a_stream_that_broke_off_has_no_ending_that_looks_whole",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "Secrets on their way",
        "A credential leaves in an argument, or comes back in a result and into a model.",
        (
            Requirement(
                "guards:secrets:everywhere",
                "Every text of a call is read in both directions, wherever it stands; what cannot be read is not"
                " passed on.",
                {
                    CONTENT: (
                        "test_no_field_of_a_result_is_left_unread",
                        "test_structured_content_that_poses_as_media_is_read_all_the_same",
                        "test_arguments_that_pose_as_media_are_read_all_the_same",
                        "test_text_that_is_no_unicode_is_stopped_because_it_cannot_be_read",
                        "test_what_is_said_on_the_open_line_is_screened_in_both_directions",
                    ),
                    "unit/test_pipeline.py": (
                        "test_what_an_upstream_says_in_an_error_is_screened_too",
                        "test_a_blocked_result_has_still_been_paid_for",
                    ),
                    "unit/guardrails/test_screen.py": (
                        "test_a_detector_that_fails_stops_the_content_and_leaves_a_finding_and_no_text_in_the_logs",
                    ),
                },
            ),
            Requirement(
                "guards:secrets:whole",
                "No part of a secret that was found survives, in the content or in the record.",
                {
                    CONTENT: (
                        "test_secrets_that_touch_each_other_do_not_shield_each_other",
                        "test_many_secrets_in_one_text_are_all_replaced",
                        "test_a_secret_in_a_key_cannot_be_replaced_and_stops_the_content_without_being_recorded",
                    ),
                    "unit/guardrails/test_screen.py": (
                        "test_structure_and_keys_survive_and_no_part_of_a_secret_does",
                    ),
                },
            ),
            Requirement(
                "guards:disguise:read",
                "Text that is encoded, hidden or made of look-alikes is read as a reader would, and acted on"
                " where it stands.",
                {
                    "unit/guardrails/test_views.py": (
                        "test_a_secret_in_disguise_does_not_get_through",
                        "test_every_place_in_a_view_leads_back_into_the_text_it_was_made_from",
                    ),
                    "unit/guardrails/test_hidden.py": ("test_hidden_and_disguised_text_is_found",),
                },
            ),
            Requirement(
                "guards:output:whole",
                "Whatever JSON comes in, it is passed on clean and with its structure, or refused.",
                {
                    EVASION: (
                        "test_any_json_is_passed_on_clean_or_refused_and_its_structure_stays",
                        "test_a_result_that_would_no_longer_fit_its_schema_is_refused_and_not_bent",
                    ),
                },
            ),
            Requirement(
                "guards:calls:apart",
                "No text or finding of one call is in another's result or record; no raw text is kept.",
                {
                    EVASION: (
                        "test_a_thousand_interleaved_calls_never_see_each_others_text",
                        "test_large_content_above_the_limit_is_refused_without_being_read",
                    ),
                    "unit/guardrails/test_screen.py": (
                        "test_a_finding_holds_a_keyed_digest_and_never_the_text",
                        "test_a_detector_that_fails_stops_the_content_and_leaves_a_finding_and_no_text_in_the_logs",
                    ),
                },
            ),
            Requirement(
                "guards:arguments:dangerous",
                "Arguments that would do something else than their field is for are found by the role of the"
                " field.",
                {
                    "unit/guardrails/test_dangerous.py": (
                        "test_a_payload_in_its_role_stops_the_call_and_the_same_text_elsewhere_passes",
                        "test_paths",
                        "test_urls",
                    ),
                },
            ),
            Requirement(
                "guards:binary:typed",
                "What images, audio and blobs really are is told by their first bytes: programs do not get"
                " through, what poses as another format is recorded.",
                {
                    "unit/guardrails/test_binary.py": (
                        "test_a_blob_is_what_its_first_bytes_say",
                        "test_what_is_no_base64_is_said_so",
                        "test_a_program_is_never_passed_on_whatever_it_says_it_is",
                        "test_another_type_than_it_says_is_passed_on_and_recorded",
                        "test_an_exception_for_one_blob_holds_for_no_other",
                        "test_a_rule_that_redacts_blobs_stops_them_because_nothing_can_stand_in_their_place",
                    ),
                },
            ),
            Requirement(
                "guards:time:linear",
                "Reading takes time in proportion to the text, whatever the text is.",
                {
                    "unit/guardrails/test_secrets.py": (
                        "test_four_times_the_text_takes_at_most_four_times_the_steps",
                        "test_no_pattern_lets_one_match_read_to_the_end_of_the_text",
                    ),
                    EVASION: (
                        "test_four_times_the_text_takes_about_four_times_the_steps",
                        "test_what_takes_longer_than_allowed_to_read_is_not_passed_on",
                        "test_large_content_above_the_limit_is_refused_without_being_read",
                        "test_large_content_is_read_in_another_thread_while_others_go_on",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "Values behind pseudonyms",
        "An agent, or who writes what it reads, wants the values that it is not shown, or has them sent astray.",
        (
            Requirement(
                "guards:pseudonyms:unseen",
                "What is pseudonymised is shown to the caller in no result, error or record, and lies on no disk"
                " unencrypted.",
                {
                    PSEUDONYMS: (
                        "test_an_agent_works_with_what_it_never_sees",
                        "test_what_a_tool_says_of_what_it_was_given_is_not_shown_whatever_rules_say_of_its_results",
                        "test_no_value_is_on_the_disk_in_a_record_or_in_the_logs",
                    ),
                    "unit/guardrails/test_pseudonyms.py": (
                        "test_a_tool_that_echoes_what_was_restored_does_not_show_it",
                        "test_what_is_restored_is_recorded_without_the_value_and_names_whom_it_is_about",
                    ),
                },
            ),
            Requirement(
                "guards:pseudonyms:holder",
                "A value is put back only for an agent that was shown its pseudonym in the same transaction, and"
                " only for tools that a rule names.",
                {
                    PSEUDONYMS: (
                        "test_a_tool_that_no_rule_names_is_given_the_pseudonym",
                        "test_another_agent_another_task_and_another_organisation_restore_nothing",
                        "test_a_delegate_restores_what_it_was_shown_and_guesses_nothing",
                        "test_what_agents_say_to_each_other_in_a_task_goes_on_by_name",
                        "test_numbers_that_were_never_given_out_restore_nothing_and_are_told",
                        "test_who_writes_a_page_cannot_name_a_value_that_is_found_later",
                        "test_a_row_that_is_put_elsewhere_or_altered_stands_for_nothing",
                    ),
                    "contract/test_pseudonyms.py": (
                        "test_nobody_else_and_no_other_transaction_is_given_a_value",
                        "test_an_agent_that_was_shown_a_name_by_another_has_it_and_only_that",
                        "test_two_processes_give_no_name_twice",
                    ),
                    "unit/guardrails/test_pseudonyms.py": (
                        "test_a_model_reads_names_and_its_caller_the_values_that_it_has_said_itself",
                        "test_restoring_does_not_make_arguments_larger_than_they_may_be",
                    ),
                },
            ),
            Requirement(
                "guards:pseudonyms:judged",
                "Rules judge the value that will be sent, and know where it came from.",
                {
                    PSEUDONYMS: (
                        "test_rules_judge_the_value_that_will_be_sent_and_not_its_name",
                        "test_a_value_does_not_lose_where_it_came_from_by_having_been_a_name",
                    ),
                },
            ),
            Requirement(
                "guards:pseudonyms:forgotten",
                "Values go with the person, and when their time is over; no number means another value later.",
                {
                    PSEUDONYMS: ("test_erasing_a_person_leaves_a_name_that_stands_for_nothing",),
                    "contract/test_pseudonyms.py": (
                        "test_values_go_when_they_have_rested_for_a_day_and_their_numbers_are_not_given_again",
                        "test_erasing_a_person_takes_their_values_and_no_number_is_given_again",
                        "test_a_value_whose_key_is_gone_stands_for_nothing_and_gets_a_new_name",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "Orders in what a tool answers",
        "Somebody writes to the agent through a page, a mail or a record that a tool reads for it.",
        (
            Requirement(
                "guards:injection:result",
                "An explicit order in a result is stopped before an agent reads it, also hidden or encoded; what only"
                " uses the same words is handed out; the record says where it stood and holds none of it.",
                {
                    ORDERS: (
                        "test_an_order_in_a_result_reaches_no_agent_however_it_is_written",
                        "test_a_harmless_result_with_the_same_words_is_handed_out",
                        "test_the_record_of_a_blocked_order_says_where_it_stood_and_holds_none_of_it",
                    )
                },
            ),
        ),
    ),
    Threat(
        "Changed, renamed and poisoned tool definitions",
        "Somebody behind a connector changes what a tool is after it was trusted, or writes orders into it.",
        (
            Requirement(
                "guards:definition:pinned",
                "What was approved is what is served: other words wait, another schema or other annotations are"
                " withheld, and every doubt is in the log with both hashes.",
                {
                    DEFINITIONS: (
                        "test_a_description_that_turns_into_an_order_after_approval_never_reaches_an_agent",
                        "test_a_tool_that_takes_something_else_after_approval_is_gone_until_it_is_approved",
                        "test_a_tool_that_becomes_harmless_only_in_its_annotations_is_not_believed",
                        "test_every_doubt_is_in_the_log_with_both_hashes_and_none_of_the_text",
                    )
                },
            ),
            Requirement(
                "guards:definition:names",
                "A known tool under another name, or a name that looks like a known one, waits for an operator.",
                {
                    DEFINITIONS: (
                        "test_a_known_tool_under_another_name_waits",
                        "test_a_name_that_looks_like_that_of_a_known_tool_waits",
                    )
                },
            ),
            Requirement(
                "guards:definition:poisoned",
                "A definition that gives orders is not served, wherever in it they stand; the others are.",
                {
                    DEFINITIONS: (
                        "test_a_definition_that_gives_orders_is_never_served_and_the_others_are",
                        "test_an_order_in_the_description_of_an_argument_is_seen",
                    )
                },
            ),
        ),
    ),
    Threat(
        "Upstreams",
        "An upstream is hostile, or somebody uses the broker to reach what only the broker can reach.",
        (
            Requirement(
                "upstream:credentials:own",
                "Nothing a caller sent to authenticate is passed on; an upstream's own secrets do not come back.",
                {
                    WIRE: (
                        "test_nothing_of_the_caller_s_request_head_reaches_the_upstream",
                        "test_metadata_of_the_caller_is_not_passed_on",
                    ),
                    "connectors/test_mcp_http.py": (
                        "test_configured_headers_are_sent_and_a_secret_in_an_answer_is_not_handed_on",
                        "test_cookies_are_not_kept",
                    ),
                    "connectors/test_mcp_stdio.py": (
                        "test_a_secret_that_the_server_echoes_does_not_reach_the_caller",
                    ),
                },
            ),
            Requirement(
                "upstream:egress:checked",
                "Addresses are checked after they are resolved; redirects are not followed.",
                {
                    "unit/connector/test_egress.py": (
                        "test_what_is_never_meant_is_never_connected_to",
                        "test_loopback_and_private_networks_only_if_they_are_meant",
                        "test_an_ipv4_address_is_judged_alike_in_all_its_forms",
                        "test_nothing_is_permitted_that_python_does_not_hold_for_global",
                    ),
                    "connectors/test_mcp_http.py": (
                        "test_a_name_with_a_private_address_is_refused_unless_that_is_meant",
                        "test_a_redirect_is_not_followed",
                    ),
                },
            ),
            Requirement(
                "upstream:process:contained",
                "A process gets a clean environment, is started by no shell, and does not outlive the broker.",
                {
                    "connectors/test_mcp_stdio.py": (
                        "test_a_server_sees_a_clean_environment_and_its_own_secrets",
                        "test_closing_ends_a_server_that_does_not_want_to_and_all_it_started",
                        "test_servers_die_with_a_broker_that_is_killed",
                        "test_a_message_above_the_limit_ends_the_server_and_loses_the_call",
                    )
                },
            ),
            Requirement(
                "upstream:callers:apart",
                "Callers that must not share a session do not; a question reaches the only caller it can be for,"
                " or nobody.",
                {
                    "connectors/test_mcp_stdio.py": (
                        "test_isolation_decides_who_shares_a_process",
                        "test_a_question_with_two_callers_on_the_pipe_reaches_neither",
                    )
                },
            ),
            Requirement(
                "upstream:secrets:referenced",
                "Configuration holds references to secrets; a secret itself is refused and not repeated.",
                {
                    "unit/test_references.py": (
                        "test_a_secret_itself_where_a_reference_belongs_is_refused_without_repeating_it",
                    ),
                    "connectors/test_mcp_parts.py": (
                        "test_a_setting_that_cannot_be_meant_is_refused_with_what_to_write",
                        "test_a_secret_with_a_line_break_is_refused_without_repeating_it",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "Money",
        "Agents spend more than they may, by racing, by crashing the broker, or by leaving.",
        (
            Requirement(
                "ledger:cap:held",
                "The worst case of a call is held before it leaves; no number of calls at once and no crash lets"
                " holds exceed a cap.",
                {
                    "contract/test_money.py": (
                        "test_thirty_calls_at_once_and_ten_fit",
                        "test_no_order_of_openings_and_closings_overspends_or_spoils_the_log",
                        "test_a_refusal_changes_nothing_in_any_budget_or_log",
                    ),
                    "contract/test_log.py": ("test_two_stores_hold_one_budget",),
                    "unit/test_pipeline.py": ("test_a_call_over_budget_never_leaves_the_broker",),
                    "e2e/test_crash.py": ("test_the_ledger_balances",),
                },
            ),
            Requirement(
                "ledger:release:known",
                "Money is given back only where nothing can have happened.",
                {
                    "unit/test_pipeline.py": (
                        "test_money_is_given_back_only_where_nothing_can_have_happened",
                        "test_a_call_cancelled_in_flight_keeps_its_reserved_amount_and_its_record",
                    ),
                    "unit/test_journal.py": ("test_an_absurd_cost_is_taken_as_the_quote_and_marked",),
                },
            ),
            Requirement(
                "ledger:repeat:once",
                "A call that is sent again under its idempotency key has no second effect and no second cost;"
                " where its answer was lost it is not made again.",
                {
                    REPEATED: (
                        "test_the_same_call_with_the_same_key_is_made_once_and_paid_once",
                        "test_the_key_may_stand_in_the_header_that_is_drafted_for_it",
                        "test_a_key_that_was_used_for_another_call_does_nothing",
                        "test_while_the_first_call_is_open_the_second_is_refused_and_not_made",
                        "test_a_call_whose_answer_was_lost_is_not_made_again_under_its_key",
                        "test_a_call_that_never_reached_anybody_can_be_made_under_its_key",
                        "test_a_key_that_is_none_is_refused_and_nothing_is_done",
                    ),
                    "contract/test_first_calls.py": (
                        "test_of_thirty_calls_under_one_key_at_once_one_is_made",
                        "test_of_two_processes_that_race_for_fifty_keys_one_gets_each",
                    ),
                },
            ),
            Requirement(
                "ledger:repeat:own",
                "A kept answer is for who it was given to, judged and screened as of now, and unreadable on the"
                " disk; one in memory never crosses organisations, roles or delegations, nor agents where the"
                " data is private.",
                {
                    REPEATED: (
                        "test_the_key_of_one_agent_means_nothing_in_the_hands_of_another",
                        "test_a_suspended_agent_is_not_given_what_it_has_already_been_given",
                        "test_a_repeated_call_is_judged_by_the_rules_of_now",
                        "test_what_is_kept_for_a_key_cannot_be_read_in_the_file",
                        "test_a_read_is_answered_from_memory_judged_recorded_and_free",
                        "test_an_answer_in_memory_is_not_for_other_organisations_roles_or_delegations",
                        "test_private_data_in_memory_is_for_the_agent_that_read_it",
                        "test_what_an_answer_from_memory_shows_taints_the_transaction_as_if_it_was_read",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "The log",
        "Somebody hides a call, or changes what the log says about it.",
        (
            Requirement(
                "audit:record:first",
                "Nothing leaves before its intent is durable, no result is released before its outcome is; a"
                " crash hides no call.",
                {
                    "unit/test_pipeline.py": (
                        "test_nothing_leaves_when_the_intent_cannot_be_recorded",
                        "test_no_result_is_released_when_its_outcome_cannot_be_recorded",
                    ),
                    "unit/storage/sqlite/test_power_loss.py": (
                        "test_no_acknowledged_record_is_lost_when_the_power_fails",
                    ),
                    "e2e/test_crash.py": (
                        "test_every_effect_upstream_has_an_intent_in_the_log",
                        "test_every_intent_has_exactly_one_end",
                        "test_whatever_a_caller_holds_is_in_the_log_as_done",
                    ),
                    "e2e/test_failing_surroundings.py": (
                        "test_a_full_disk_stops_calls_before_they_leave_and_nothing_is_lost",
                    ),
                },
            ),
            Requirement(
                "audit:tamper:records",
                "A record that was changed, removed, moved, put in or made up is found and named.",
                {
                    TAMPERING: (
                        "test_bodies_that_are_gone_without_a_record_of_it_are_named",
                        "test_more_bodies_gone_than_a_record_says_are_named",
                        "test_a_body_that_is_gone_from_the_middle_is_named",
                        "test_an_untouched_log_verifies",
                        "test_an_edited_record_is_named",
                        "test_a_changed_hash_is_named",
                        "test_hashes_kept_for_proofs_that_are_not_those_of_the_records_are_named",
                        "test_a_deleted_record_is_named",
                        "test_a_deleted_record_whose_successors_move_up_is_named",
                        "test_records_that_changed_places_are_both_named",
                        "test_records_swapped_between_logs_are_named_in_both",
                        "test_whole_logs_that_changed_names_are_named",
                        "test_an_edit_that_was_not_rehashed_to_the_end_is_found_by_the_head",
                        "test_a_record_smuggled_in_behind_the_head_is_named",
                        "test_an_end_that_was_made_up_after_the_fact_is_named_by_its_meaning",
                        "test_a_time_that_was_turned_back_is_named",
                        "test_a_record_that_is_none_is_named",
                        "test_the_broker_goes_on_writing_after_an_edit_and_the_edit_stays_visible",
                    )
                },
            ),
            Requirement(
                "audit:tamper:approvals",
                "A call that stands on an approval which nobody had granted before, or not to this actor for this"
                " target, is found and named; of one for a single call also other arguments and a second use.",
                {
                    AGREED: (
                        "test_what_was_agreed_to_and_made_has_no_problems",
                        "test_a_call_on_an_approval_that_nobody_granted_is_named",
                        "test_a_call_on_an_approval_that_not_all_had_granted_is_named",
                        "test_a_call_that_was_granted_only_afterwards_is_named",
                        "test_a_call_of_somebody_else_than_was_agreed_to_is_named",
                        "test_a_call_of_another_target_than_was_agreed_to_is_named",
                        "test_a_call_with_other_arguments_than_were_agreed_to_is_named",
                        "test_what_one_of_two_people_wanted_for_one_call_alone_is_for_one_call",
                        "test_a_second_call_on_an_approval_for_one_is_named",
                        "test_a_call_on_an_approval_that_was_over_is_named",
                        "test_an_approval_that_is_said_to_be_used_by_another_call_is_named",
                        "test_a_grant_that_lacks_what_it_says_is_a_problem_and_no_crash",
                        "test_a_part_of_a_log_is_not_judged_by_what_was_granted_before_it",
                    )
                },
            ),
            Requirement(
                "audit:tamper:history",
                "A log that was cut or hashed anew is found by a signed checkpoint.",
                {
                    TAMPERING: (
                        "test_a_log_that_was_cut_off_is_found_by_its_head",
                        "test_a_cut_that_reaches_below_a_checkpoint_is_found_even_with_a_forged_head",
                        "test_a_cut_is_found_by_a_checkpoint_kept_elsewhere_if_those_in_the_file_are_gone_too",
                        "test_a_rehashed_edit_is_found_by_the_signed_checkpoint",
                        "test_a_log_that_disappeared_is_missed_by_who_kept_its_checkpoint",
                    )
                },
            ),
            Requirement(
                "audit:tamper:evidence",
                "Whatever was changed in a pack of evidence is found by Python alone: the key of the log signs every"
                " file in it; its report loads and runs nothing, whatever names the log holds.",
                {
                    EVIDENCE: (
                        "test_a_pack_is_verified_by_whoever_has_python_alone",
                        "test_the_same_log_and_period_give_the_same_bytes",
                        "test_a_changed_file_is_named",
                        "test_a_manifest_that_was_made_to_agree_is_not_the_one_that_was_signed",
                        "test_a_manifest_signed_by_another_key_is_not_believed",
                        "test_a_pack_without_its_signature_does_not_pass_as_a_plain_export",
                        "test_a_checkpoint_of_the_log_does_not_pass_as_a_signature_of_the_manifest",
                        "test_a_file_that_was_added_is_named",
                        "test_a_record_that_was_changed_with_everything_beside_it_is_found",
                        "test_the_report_loads_and_runs_nothing_whatever_names_the_log_holds",
                        "test_a_pack_says_what_was_erased_stopped_and_found",
                        "test_every_file_that_the_mapping_names_is_there_and_nothing_is_called_compliant",
                    ),
                    "unit/cli/test_evidence.py": (
                        "test_a_pack_of_a_running_broker_verifies_with_python_alone",
                    ),
                },
            ),
            Requirement(
                "audit:tamper:export",
                "What was changed in an export is found, named and located by Python alone, on a machine"
                " without the broker; what was signed and cannot be is found too.",
                {
                    EXPORTED: (
                        "test_an_untouched_export_verifies_without_the_broker",
                        "test_the_verifier_finds_the_export_that_it_lies_in",
                        "test_the_verifier_imports_nothing_of_the_broker",
                        "test_an_untouched_zip_verifies",
                        "test_a_part_of_a_log_verifies_and_says_what_it_cannot_judge",
                        "test_an_edited_record_is_named",
                        "test_an_edit_that_was_not_written_into_the_manifest_is_named_with_its_file",
                        "test_a_rehashed_edit_is_found_by_the_signed_checkpoint",
                        "test_a_record_that_was_moved_is_named_and_the_signed_root_with_it",
                        "test_a_deleted_record_whose_successors_were_numbered_anew_is_found_by_the_checkpoint",
                        "test_a_record_replayed_under_a_new_number_by_somebody_with_the_key_is_named",
                        "test_a_tail_that_was_cut_off_is_found_by_a_kept_checkpoint",
                        "test_an_older_copy_is_found_by_a_kept_checkpoint",
                        "test_records_swapped_between_logs_are_named_in_both",
                        "test_an_export_signed_by_another_key_is_found_by_what_was_kept",
                        "test_a_dropped_outcome_is_found_by_the_checkpoint_and_its_call_is_named_as_open",
                        "test_an_intent_dropped_by_somebody_with_the_key_is_named_by_the_end_it_leaves",
                        "test_a_forged_parent_is_named_even_if_it_is_signed",
                        "test_a_reference_to_what_comes_later_is_named",
                        "test_an_overspend_is_named_even_if_it_is_signed",
                        "test_a_call_that_was_refused_and_made_all_the_same_is_named",
                        "test_a_time_that_was_turned_back_is_named",
                        "test_a_record_that_is_none_is_named",
                        "test_a_file_that_was_put_in_is_named",
                        "test_a_checkpoint_that_is_none_leaves_the_log_unsigned",
                        "test_a_log_that_was_left_out_is_missed_by_who_kept_its_checkpoint",
                        "test_what_is_no_export_is_said_to_be_none",
                    ),
                    "unit/audit/test_offline.py": (
                        "test_one_bit_of_difference_is_refused",
                        "test_a_signature_whose_scalar_was_raised_by_the_order_is_refused",
                    ),
                },
            ),
            Requirement(
                "audit:feed:complete",
                "What the log is fed to gets every record at least once and in order, whatever fails or dies in"
                " between; what is told again has the same name.",
                {
                    "contract/test_feeds.py": (
                        "test_what_was_refused_is_told_again_and_what_is_waiting_is_counted",
                        "test_what_was_taken_but_not_noted_is_told_again_under_the_same_name",
                        "test_after_a_restart_a_feed_goes_on_where_it_was",
                    ),
                    "e2e/test_feeds.py": (
                        "test_every_record_arrives_though_the_receiver_fails_and_the_broker_is_killed",
                        "test_a_broker_killed_between_delivery_and_note_tells_it_again",
                    ),
                },
            ),
            Requirement(
                "audit:checkpoint:genuine",
                "A checkpoint that this deployment did not sign for this log proves nothing.",
                {
                    TAMPERING: (
                        "test_a_forged_checkpoint_is_no_proof_and_is_named",
                        "test_a_checkpoint_of_another_log_is_named",
                    ),
                    "contract/test_credentials.py": (
                        "test_a_rotated_key_of_checkpoints_keeps_its_public_half_for_ever_and_nothing_more",
                    ),
                    "contract/test_witnesses.py": (
                        "test_a_log_that_grows_is_cosigned_and_an_export_proves_it",
                        "test_a_log_that_was_made_anew_is_not_cosigned",
                        "test_what_is_no_signature_of_the_witness_is_not_kept",
                    ),
                    "e2e/test_log_keys.py": (
                        "test_a_rotation_changes_who_signs_and_nothing_of_what_was_signed",
                    ),
                },
            ),
            Requirement(
                "audit:content:absent",
                "Arguments and results are not in the log, only their length and keyed hash; no organisation"
                " writes into the broker's own log.",
                {
                    "unit/test_pipeline.py": ("test_arguments_and_results_are_never_in_the_log",),
                    "unit/guardrails/test_screen.py": (
                        "test_a_finding_holds_a_keyed_digest_and_never_the_text",
                    ),
                    "unit/test_journal.py": ("test_no_organisation_can_write_into_the_brokers_own_log",),
                },
            ),
            Requirement(
                "audit:state:private",
                "The state is readable by its owner alone, and served by one process.",
                {
                    "unit/storage/sqlite/test_connection.py": (
                        "test_the_state_is_readable_by_its_owner_alone",
                        "test_a_file_that_others_may_read_is_closed_to_them",
                        "test_a_second_server_on_the_same_state_is_told_who_has_it",
                    )
                },
            ),
        ),
    ),
    Threat(
        "An agent that turns",
        "An agent with a good name is taken over, or begins to try what it may not do.",
        (
            Requirement(
                "trust:honeytool",
                "Who calls a planted tool is cut with the very next call, and until a human releases it.",
                {
                    TRUST: (
                        "test_who_touches_a_honeytool_is_cut_with_the_very_next_call",
                        "test_a_quarantined_agent_stays_so_until_an_operator_releases_it",
                    ),
                    REPUTATION: ("test_a_touched_honeytool_cuts_the_very_next_call_before_the_log_is_read",),
                },
            ),
            Requirement(
                "trust:bands",
                "Lost trust takes tools away from the whole chain, and no event ever raises a score by being bad.",
                {
                    TRUST: ("test_an_agent_that_has_lost_trust_loses_its_writing_tools_and_reads_on",),
                    REPUTATION: ("test_a_chain_has_the_lowest_trust_of_its_actors",),
                    TRUST_SCORE: ("test_one_more_bad_event_never_raises_a_score",),
                },
            ),
            Requirement(
                "trust:replay",
                "Every score can be recomputed from the log, and is recorded once with its reasons.",
                {
                    REPUTATION: (
                        "test_a_fall_is_recorded_once_with_its_reasons_and_told",
                        "test_a_new_process_comes_to_the_same_numbers_and_records_nothing_again",
                        "test_what_a_crash_left_untold_is_told_by_the_next_process",
                    ),
                },
            ),
        ),
    ),
    Threat(
        "Injected instructions",
        "Somebody writes what an agent reads, and the agent does what it says.",
        (
            Requirement(
                "flow:taint",
                "What a transaction has read decides what it may send: private data and untrusted content in one"
                " transaction need a human before anything leaves.",
                {
                    FLOW: (
                        "test_without_an_attack_a_mail_goes_where_the_task_says",
                        "test_what_no_one_has_labelled_can_be_used_as_before",
                        "test_private_data_does_not_leave_after_untrusted_content_was_read",
                        "test_private_data_from_one_tool_and_instructions_from_another_are_one_transaction",
                        "test_a_delegate_s_reading_stops_its_delegator_and_the_other_way_round",
                        "test_an_agent_that_is_called_as_a_tool_is_in_its_caller_s_transaction",
                    )
                },
            ),
            Requirement(
                "flow:shedding",
                "Neither another task, nor a restart, nor another process, nor a call at the same time gets rid"
                " of what was read.",
                {
                    FLOW: (
                        "test_naming_another_task_sheds_nothing",
                        "test_a_task_that_goes_on_with_a_new_token_keeps_what_it_has_read",
                        "test_what_is_still_being_read_counts_already",
                        "test_only_a_recorded_act_of_an_operator_takes_a_label_away_and_not_what_is_read_after_it",
                        "test_a_restart_forgets_nothing",
                        "test_two_processes_do_not_let_private_data_slip_out_between_them",
                    )
                },
            ),
            Requirement(
                "flow:declassify",
                "An agent declassifies only where its own role and those of its whole chain name that, only its own"
                " transaction, and where a role wants that only what a human has seen and agreed to.",
                {
                    DECLASSIFYING: (
                        "test_whom_a_role_names_declassifies_its_own_transaction_and_that_is_recorded",
                        "test_an_agent_whose_role_allows_everything_but_does_not_name_it_has_no_such_tool",
                        "test_a_delegate_whose_role_names_it_does_not_do_it_for_a_delegator_whose_role_does_not",
                        "test_declassifying_reaches_no_other_transaction_whatever_the_agent_says",
                        "test_what_says_too_little_changes_nothing",
                        "test_where_a_role_wants_that_a_human_agrees_first_and_is_named_in_the_log",
                        "test_what_was_read_after_somebody_was_asked_is_not_what_they_agreed_to",
                        "test_an_agent_that_is_refused_by_a_human_stays_with_what_it_has_read",
                    )
                },
            ),
            Requirement(
                "flow:provenance",
                "Nothing goes to a destination that untrusted content has named and the task has not.",
                {
                    FLOW: (
                        "test_an_address_from_a_mail_is_no_destination",
                        "test_an_address_that_was_spelt_out_in_a_mail_is_no_destination",
                        "test_a_task_text_that_a_mail_has_dictated_makes_no_destination_of_its_own",
                        "test_what_was_judged_on_is_in_the_record_and_no_content_is",
                    )
                },
            ),
        ),
    ),
    Threat(
        "What was said, and about whom",
        "Somebody with files, backups or a token wants to read it, change it, or have it outlive its people.",
        (
            Requirement(
                "payload:commitment",
                "What is kept of a call is what the log commits to, or it is named and not shown.",
                {
                    PAYLOADS: (
                        "test_a_payload_that_was_altered_is_named_and_never_shown",
                        "test_a_payload_that_was_deleted_is_named",
                        "test_the_erasure_of_somebody_else_is_no_reason_for_a_payload_to_be_gone",
                        "test_a_payload_of_another_call_cannot_take_its_place",
                        "test_a_commitment_that_was_rewritten_is_named",
                    )
                },
            ),
            Requirement(
                "payload:access",
                "What was said is read with a right of its own and a reason, which are recorded before it is shown.",
                {
                    PAYLOADS: (
                        "test_an_operator_without_the_right_reads_nothing_and_one_with_it_leaves_a_record",
                        "test_without_the_wrapping_key_neither_file_opens_anything",
                    )
                },
            ),
            Requirement(
                "subject:erasure",
                "After an erasure nothing of the person is in the state, its journal, exports or logs, nor readable"
                " in older copies of the state; the log verifies as before.",
                {
                    PAYLOADS: (
                        "test_after_an_erasure_nothing_of_the_person_is_left_anywhere",
                        "test_the_search_finds_what_is_there",
                        "test_a_copy_of_the_state_from_before_an_erasure_cannot_be_read_with_the_keys_of_after",
                        "test_with_the_state_alone_nobody_can_try_out_who_a_person_is",
                    )
                },
            ),
        ),
    ),
    Threat(
        "Operating the broker without being an operator",
        "An agent, a web page, or an operator with fewer rights tries to change who may do what.",
        (
            Requirement(
                "admin:identity",
                "Operators have credentials of their own, which end; an agent's are of no use to operate the"
                " broker, an operator's of none to call anything, and every wrong one gets the same answer.",
                {
                    ADMIN: (
                        "test_without_an_operators_token_every_operation_gives_the_same_answer_as_a_path_that_is_not_there",
                        "test_an_agents_token_is_of_no_use_to_operate_the_broker",
                        "test_a_delegation_token_is_of_no_use_to_operate_the_broker",
                        "test_an_operators_token_is_of_no_use_to_call_anything",
                        "test_a_bent_token_is_refused_like_none",
                        "test_a_token_that_has_expired_or_was_replaced_or_revoked_is_refused_from_the_next_request_on",
                        "test_two_authorization_headers_are_none",
                        "test_guessing_slows_down_and_locks_nobody_out_elsewhere",
                        "test_a_wrong_token_in_the_name_of_an_operator_is_recorded_and_nothing_of_it_is_kept",
                    )
                },
            ),
            Requirement(
                "admin:rights",
                "Each operation needs one right, decided on the operation and not on the path; no right makes"
                " operators, and no secret can be read back.",
                {
                    ADMIN: (
                        "test_an_operator_without_a_right_can_do_nothing_that_needs_it",
                        "test_every_operation_that_changes_something_needs_a_right_to_change",
                        "test_no_operator_can_make_operators_or_give_themselves_rights_over_http",
                        "test_nothing_that_is_secret_can_be_read_back",
                        "test_a_bent_path_leads_nowhere",
                        "test_a_method_can_not_be_overridden",
                    )
                },
            ),
            Requirement(
                "admin:browser",
                "A page of another site can neither ask nor learn anything: there are no cookies, no CORS, and"
                " nothing that a form can send is a body.",
                {
                    ADMIN: (
                        "test_a_token_in_the_url_a_cookie_or_a_form_is_not_even_read",
                        "test_a_page_of_another_site_can_neither_ask_nor_learn_anything",
                        "test_what_a_page_can_send_without_asking_first_is_no_body",
                    )
                },
            ),
            Requirement(
                "admin:input",
                "A request that is not exactly what was asked for changes nothing.",
                {
                    ADMIN: (
                        "test_a_cursor_cannot_be_made_bent_or_used_for_another_list_or_by_somebody_else",
                        "test_a_body_that_is_not_exactly_what_was_asked_for_changes_nothing",
                        "test_a_body_that_is_too_large_is_not_read",
                    )
                },
            ),
        ),
    ),
)


def requirements() -> list[Requirement]:
    return [requirement for threat in THREATS for requirement in threat.requirements]


def table() -> str:
    """All threats with what is promised and what tries to break it, as Markdown."""
    return "\n".join(_lines())


def _lines() -> list[str]:
    lines: list[str] = []
    for threat in THREATS:
        lines += [
            f"### {threat.name}",
            "",
            threat.who,
            "",
            "| id | what is promised | tried by |",
            "|---|---|---|",
        ]
        lines += [f"| `{r.id}` | {r.promise} | {_tried_by(r)} |" for r in threat.requirements]
        lines += ["", "<details><summary>the tests by name</summary>", ""]
        for requirement in threat.requirements:
            names = [name for found in requirement.tests.values() for name in found]
            lines += [f"* `{requirement.id}`", *(f"  * `{name}`" for name in names)]
        lines += ["", "</details>", ""]
    return lines


def _tried_by(requirement: Requirement) -> str:
    return ", ".join(
        f"{len(names)} in [{Path(file).stem.removeprefix('test_')}](../tests/{file})"
        for file, names in requirement.tests.items()
    )


def made(page: str) -> str:
    """The page with the table in its place."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN.strip()} … {END.strip()}")
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
