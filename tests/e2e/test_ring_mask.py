"""The gateway on the oldest kernel that it supports: RINGMX_RING_MASK=6.1 hides what newer ones offer."""

import os
import unittest

import test_backend_mode
import test_dialog
import test_reload_drain
import test_spool


def setUpModule():
    os.environ["RINGMX_RING_MASK"] = "6.1"


def tearDownModule():
    os.environ.pop("RINGMX_RING_MASK")


def load_tests(loader, _, __):
    chosen = {
        test_backend_mode.Passthrough: ("test_a_message_goes_through_octet_for_octet_behind_one_trace_field", "test_a_large_message_streams_through",
                                        "test_many_messages_on_one_connection_reuse_the_backends"),
        test_backend_mode.AnotherBackend: ("test_a_drop_before_the_final_dot_leads_to_another",),
        test_backend_mode.LeavingClients: ("test_before_its_last_octet_by_reset",),
        test_dialog.Dialog: ("test_commands_cut_at_every_octet", "test_size_limits", "test_bare_newlines_in_data"),
        test_spool.Spool: ("test_a_small_and_a_large_message_outlive_a_kill",),
        test_reload_drain.Drain: ("test_a_drain_under_load_loses_no_acknowledged_message",),
    }
    # Subclasses belong to this module, so that setUpModule above is theirs.
    return unittest.TestSuite(type(case.__name__, (case,), {"__module__": __name__})(name) for case, names in chosen.items() for name in names)


if __name__ == "__main__":
    unittest.main()
