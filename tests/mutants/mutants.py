"""Wrong variants of the package, each with the tests that must notice.

A mutant replaces one snippet, which must occur exactly once in its file, by another.
"""

from __future__ import annotations

from tests.mutants.harness import Mutant

_GUIDE = '(1 + strength) * predictions["cond"] - strength * predictions["uncond"]'


def _mutant(name: str, file: str, original: str, mutated: str, *killers: str) -> Mutant:
    return Mutant(name, f"orthoscope/{file}", original, mutated, tuple(f"tests/{killer}" for killer in killers))


MUTANTS: tuple[Mutant, ...] = (
    # Guidance
    _mutant(
        "scale for strength",
        "guidance/rules/linear.py",
        _GUIDE,
        'strength * predictions["cond"] - (strength - 1) * predictions["uncond"]',
        "guidance/test_rules.py::test_strength_extrapolates_from_the_unconditional_prediction",
    ),
    _mutant(
        "conditional and unconditional swapped",
        "guidance/rules/linear.py",
        _GUIDE,
        '(1 + strength) * predictions["uncond"] - strength * predictions["cond"]',
        "guidance/test_rules.py::test_strength_extrapolates_from_the_unconditional_prediction",
    ),
    _mutant(
        "conditional model at strength -1",
        "guidance/rules/linear.py",
        '-1.0: ("uncond",)',
        '-1.0: ("cond",)',
        "guidance/test_guided.py::test_the_ends_are_bit_equal_to_the_two_models",
    ),
    _mutant(
        "jump one step early",
        "guidance/schedules.py",
        "noisiness > _noisiness(self.switch",
        "noisiness >= _noisiness(self.switch",
        "guidance/test_schedules.py::test_a_jump_belongs_to_the_step_that_starts_there",
    ),
    _mutant(
        "interval off by one",
        "guidance/schedules.py",
        "(late < noisiness) & (noisiness <= early)",
        "(late <= noisiness) & (noisiness < early)",
        "guidance/test_schedules.py::test_a_share_of_the_steps_counts_from_the_noise_side",
    ),
    _mutant(
        "jumps told apart on a rounded clock",
        "guidance/schedules.py",
        'if self.clock == "step" else np.asarray(level.time, dtype=np.float64)',
        'if self.clock == "step" else _noisiness(at, self.clock)',
        "guidance/test_schedules.py::test_a_jump_belongs_to_the_step_that_starts_there",
    ),
    _mutant(
        "share of one step fewer",
        "guidance/schedules.py",
        "level.step / level.steps",
        "level.step / (level.steps - 1)",
        "guidance/test_schedules.py::test_a_share_of_the_steps_counts_from_the_noise_side",
    ),
    _mutant(
        "variance read as sigma",
        "guidance/schedules.py",
        "np.sqrt(time)",
        "time",
        "guidance/test_schedules.py::test_a_linear_schedule_is_linear_on_its_clock",
    ),
    # Charts and predictions
    _mutant(
        "offset forgotten",
        "process.py",
        "return self.time + self.offset",
        "return self.time + 0 * self.offset",
        "test_process.py::test_a_level_knows_its_time_and_its_offset",
    ),
    _mutant(
        "level not approached from the noise side",
        "process.py",
        "np.nextafter(self.time, np.inf)",
        "self.time",
        "test_process.py::test_the_noise_side_of_a_level_is_the_next_number",
    ),
    _mutant(
        "missing alpha",
        "process.py",
        "        return 1 - t\n",
        "        return 1 - 0 * t\n",
        "test_process.py::test_charts_solve_their_equations",
    ),
    _mutant(
        "sigma for its square",
        "prediction.py",
        "x + sigma**2 * prediction",
        "x + sigma * prediction",
        "test_prediction.py::test_score_is_tweedie",
    ),
    # Targets
    _mutant(
        "weights forgotten",
        "targets/modes.py",
        "table[:, dim + 1] = log_weights",
        "table[:, dim + 1] = 0 * log_weights",
        "targets/test_mixture.py::test_weights_are_normalized_and_equal_unless_given",
    ),
    _mutant(
        "whole squares in the logits",
        "targets/modes.py",
        ".div(-2)",
        ".div(-1)",
        "targets/test_modes.py::test_posterior_mean_is_the_naive_softmax",
    ),
    _mutant(
        "single precision in the sums",
        "targets/modes.py",
        "_scan(doubles, x.double(), variance, only_total=True)",
        "_scan((d.float() for d in doubles), x.float(), variance, only_total=True)",
        "targets/test_modes.py::test_log_partition_is_the_naive_sum",
    ),
    _mutant(
        "shift never raised by the excess",
        "targets/modes.py",
        "excess.clamp_min_(0)",
        "excess.zero_()",
        "targets/test_modes.py",
    ),
    _mutant(
        "own modes among the others, streamed",
        "targets/streamed.py",
        "kept[here] = False",
        "kept[here] = True",
        "targets/test_streamed.py",
    ),
    _mutant(
        "odds against everybody",
        "targets/mixture.py",
        "self.tables(without=label)",
        "self.tables()",
        "targets/test_mixture.py::test_classes_make_up_the_whole",
    ),
    _mutant(
        "width not absorbed",
        "targets/planted.py",
        "max(self.width - self._checked(offset), 0.0)",
        "self.width",
        "targets/test_base.py::test_noising_is_a_semigroup",
    ),
    _mutant(
        "a point explains itself",
        "targets/empirical.py",
        "fill_(math.inf)",
        "fill_(0.0)",
        "targets/test_empirical.py::test_leave_one_out_is_what_naive_loops_say",
    ),
    # Sampling
    _mutant(
        "noise content not squared",
        "sample/steps.py",
        "(1 + self.lam**2) / 2",
        "(1 + self.lam) / 2",
        "sample/test_steps.py::test_the_conditional_law_moves_to_the_conditional_law",
    ),
    _mutant(
        "wrong noise variance",
        "sample/steps.py",
        "next_level.variance * (1 - ratio",
        "level.variance * (1 - ratio",
        "sample/test_steps.py::test_the_conditional_law_moves_to_the_conditional_law",
    ),
    _mutant(
        "end instead of average",
        "sample/loop.py",
        "(first.denoised + end.denoised) / 2",
        "end.denoised",
        "sample/test_law.py::test_moments_converge_to_the_moment_equations_with_the_claimed_order[2-1.0]",
    ),
    _mutant(
        "memory advanced twice",
        "sample/loop.py",
        "label, state.memory)\n            x = step(",
        "label, first.memory)\n            x = step(",
        "sample/test_loop.py::test_every_step_evaluates_where_it_should_and_commits_once",
    ),
    _mutant(
        "memory of the predicted end kept",
        "sample/loop.py",
        "memory=first.memory",
        "memory=end.memory",
        "guidance/test_guided.py::test_a_rule_with_a_memory_sees_every_step_once",
    ),
    _mutant(
        "wrong Brownian clock",
        "sample/noise.py",
        "dtype=np.float64) ** -(self.lam**2)",
        "dtype=np.float64) ** -self.lam",
        "sample/test_noise.py::test_a_brownian_path_is_standard_normal_on_any_coarser_grid",
    ),
    _mutant(
        "offset counted twice at the start",
        "sample/start.py",
        "math.sqrt(level.time) * added",
        "math.sqrt(level.variance) * added",
        "sample/test_start.py::test_the_exact_start_is_the_noised_law_whatever_the_offset",
    ),
    _mutant(
        "one stream for all rows",
        "rng.py",
        "counter=row << 192",
        "counter=0 * row",
        "test_rng.py::test_a_row_has_its_own_stream_whatever_its_company",
    ),
    # Estimates
    _mutant(
        "sum for mean",
        "metrics/moments.py",
        "per_row = squares / dim",
        "per_row = squares",
        "metrics/test_moments.py::test_second_moments_are_their_definitions",
    ),
    _mutant(
        "biased variance",
        "metrics/moments.py",
        "affine(n / (n - 1))",
        "affine(1.0)",
        "metrics/test_moments.py::test_second_moments_are_their_definitions",
    ),
    _mutant(
        "bias kept by the jackknife",
        "metrics/estimators.py",
        "value = blocks * whole - float((1 - share) @ rest)",
        "value = whole",
        "metrics/test_estimators.py::test_the_jackknife_removes_a_bias_of_first_order_exactly",
    ),
    _mutant(
        "modes left out of the error",
        "quantities.py",
        "stderr=max(between, within)",
        "stderr=within",
        "test_quantities.py::test_pooling_is_the_mean_with_the_larger_of_two_errors",
    ),
    # Theory and studies
    _mutant(
        "mean-field theory for both",
        "study/compare.py",
        "predict(replace(simulation.setting, dim=simulation.dim))",
        "predict(simulation.setting)",
        "cli/test_commands.py::test_simulate_gives_the_documented_keys",
    ),
    _mutant(
        "draws share one set of modes",
        "study/simulate.py",
        'rng.stream(simulation.seed, "modes", index)',
        'rng.stream(simulation.seed, "modes", 0)',
        "study/test_simulate.py::test_draws_have_modes_of_their_own",
    ),
    _mutant(
        "planted ensemble counts one class too many",
        "study/simulation.py",
        "return self.rate * self.dim",
        "return self.rate * (self.dim + 1)",
        "study/test_simulate.py::test_memory_is_checked_against_what_is_free",
    ),
    _mutant(
        "step clock without a grid",
        "study/predictions.py",
        "** (k / steps) - low",
        "** ((k + 1) / steps) - low",
        "cli/test_commands.py::test_a_step_clock_schedule_means_steps_of_the_geometric_grid",
    ),
    # The tilted law, densities, edges
    _mutant(
        "weights of another power",
        "sample/tilted.py",
        "gain = begin * (1 + begin) * seen.strain(level)",
        "gain = begin * begin * seen.strain(level)",
        "sample/test_tilted.py::test_weights_are_of_second_order_in_the_step",
    ),
    _mutant(
        "moves that forget their way back",
        "sample/langevin.py",
        "gain = there.log_tilted(w) - seen.log_tilted(w) + back - forth",
        "gain = there.log_tilted(w) - seen.log_tilted(w)",
        "sample/test_tilted.py::test_moves_leave_the_tilted_law_as_it_is",
    ),
    _mutant(
        "divergence of another power of the noise",
        "sample/density.py",
        "(spread / v - x.shape[1]) / 2",
        "(spread - x.shape[1]) / 2",
        "sample/test_density.py::test_density_on_a_line_integrates_to_one",
    ),
    _mutant(
        "spread between components forgotten",
        "targets/blend.py",
        "(p * (within + between))",
        "(p * within)",
        "targets/test_blend.py::test_score_and_posterior_variance_are_derivatives",
    ),
    _mutant(
        "gradient of growth with the wrong sign",
        "theory/design/adjoint.py",
        "by_growth = -width",
        "by_growth = width",
        "theory/design/test_adjoint.py::test_gradients_are_derivatives_with_jumps",
    ),
    _mutant(
        "series of another order",
        "theory/matrix_flow.py",
        "/ (2 * k + j))",
        "/ (k + j))",
        "theory/test_joint.py::test_from_infinity_it_does_not_matter_where_the_series_ends",
    ),
    _mutant(
        "one direction too few across the centroid",
        "study/radial.py",
        "across = width * np.sqrt(stream.chisquare(simulation.dim - 1, length.size))",
        "across = width * np.sqrt(stream.chisquare(simulation.dim - 2, length.size))",
        "study/test_radial.py::test_paths_begin_in_the_law_of_the_start",
    ),
    _mutant(
        "claims that differ pass",
        "study/claims/claim.py",
        "passed=abs(z) <= bound",
        "passed=z <= bound",
        "study/test_claims.py::test_agreement_is_judged_in_standard_errors_beyond_the_slack",
    ),
    # Engine
    _mutant(
        "planted law of other classes",
        "study/engine/twin.py",
        "rate=simulation.log_classes / simulation.dim,",
        "rate=2 * simulation.log_classes / simulation.dim,",
        "study/engine/test_estimators.py::test_the_planted_law_is_what_planted_runs_measure",
    ),
    _mutant(
        "completion forgets what is left",
        "study/engine/completion.py",
        "(last * (1 - share)).numpy()",
        "(0 * last * (1 - share)).numpy()",
        "study/engine/test_estimators.py::test_completed_rows_are_decided_rows_carried_on",
    ),
    _mutant(
        "correction without its coarse run",
        "study/engine/levels.py",
        "found[0][0] if len(found) > 1 else 0.0",
        "0.0",
        "study/engine/test_levels.py::test_a_sum_over_levels_is_the_finest_level_alone",
    ),
    _mutant(
        "schedules mixed up between rows",
        "study/engine/together.py",
        "np.repeat([",
        "np.resize([",
        "study/engine/test_together.py::test_each_schedule_gets_what_it_gets_alone",
    ),
    _mutant(
        "what is left out may not move",
        "denoise/active.py",
        "+ rest * longest",
        "+ 0 * rest * longest",
        "test_active.py::test_no_group_ever_exceeds_its_bound",
    ),
    _mutant(
        "odds without guidance's square",
        "theory/odds.py",
        "power = 1 + 2 * strength",
        "power = 1 + strength",
        "theory/test_odds.py::test_the_scale_is_the_odds_the_posterior_and_its_logarithm",
    ),
    # Rules
    _mutant(
        "projection off the unconditional prediction",
        "guidance/rules/projected.py",
        "unit = cond / row_norm(cond)",
        'unit = predictions["uncond"] / row_norm(predictions["uncond"])',
        "guidance/test_rules_published.py::test_the_published_formula",
    ),
    _mutant(
        "power law of the unscaled score on every chart",
        "guidance/rules/magnitude.py",
        "norm = norm / per_row(level.alpha, norm)",
        "pass",
        "guidance/test_rules_published.py::test_the_power_law_measures_the_score_of_the_chart",
    ),
    _mutant(
        "CFG++ by the noise after the step",
        "guidance/renoised.py",
        "np.asarray(sigma[:-1] / (sigma[:-1] - sigma[1:]))",
        "np.asarray(sigma[1:] / (sigma[:-1] - sigma[1:]))",
        "guidance/test_rules_published.py::test_cfg_plus_plus_is_linear_guidance_at_its_own_strengths",
    ),
    # Measures of images
    _mutant(
        "directions chosen where they are measured",
        "metrics/diversity.py",
        "_about_mean(y[rows]) for rows in halves[other]",
        "_about_mean(y[rows]) for rows in halves[half]",
        "metrics/test_diversity.py::test_directions_chosen_on_other_images_favor_no_run",
    ),
    _mutant(
        "shift and direction of the same images",
        "metrics/adherence.py",
        "shift[half, g] @ apart[other, g] + noise",
        "shift[half, g] @ apart[half, g] + noise",
        "metrics/test_adherence.py::test_independent_runs_of_one_law_show_no_shift",
    ),
    # Audits
    _mutant(
        "without guidance over guided",
        "study/audit/contribute.py",
        "part.per(reference)",
        "reference.per(part)",
        "study/audit/test_compare.py::test_the_reference_is_on_the_line_whether_compared_or_not",
    ),
    _mutant(
        "gain without the error of where the line is read",
        "study/audit/line.py",
        "-slope, slope * (1 - share), slope * share]",
        "0, 0, 0]",
        "study/audit/test_compare.py::test_contributions_are_first_order_changes_of_the_gain",
    ),
    _mutant(
        "each candidate decided at a level of its own",
        "study/audit/recommend.py",
        "self.diversity.least > 0",
        "self.diversity.low > 0",
        "study/audit/test_recommend.py::test_none_does",
    ),
    # Calibrations
    _mutant(
        "guided paths weighed as if nothing guided them",
        "study/calibrate/path.py",
        "apart = guided[:, None]",
        "apart = own[:, None]",
        "study/test_calibrate.py::test_odds_are_those_of_the_gaussian_steps_one_by_one",
    ),
)
