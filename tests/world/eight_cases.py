"""What 8 ranks have to do as fewer do: cases of each way of training, those that take little time on two cores."""

from . import averaging_cases, cases, plane_cases, server_cases

CASES = [
    cases.all_ranks_hold_the_same_bits,
    cases.gradients_are_weighted_by_samples,
    cases.clipping_acts_on_the_average,
    cases.another_training_step_on_one_rank_is_named,
    cases.every_push_is_applied_once_and_counted,
    plane_cases.uneven_shards_train_as_one_process,
    plane_cases.without_shared_memory_it_is_the_same,
    plane_cases.the_ranks_of_a_node_divide_the_updates,
    averaging_cases.averaging_after_every_step_is_allreduce,
    averaging_cases.gossip_is_its_simulation,
    server_cases.workers_may_end_one_after_the_other,
    server_cases.a_step_without_samples_moves_nothing,
]
