"""OpenSSL and BoringSSL export the same names: no program may have OpenSSL in its process."""

import os
import unittest

from harness import BIN, run

PROGRAMS = [BIN / name for name in ("ringmx", "ringmx-sink", "ringmx-load") if os.access(BIN / name, os.X_OK)]


class Libraries(unittest.TestCase):
    def test_the_programs_are_there(self):
        self.assertIn(BIN / "ringmx", PROGRAMS)

    def test_no_program_has_openssl(self):
        for program in PROGRAMS:
            with self.subTest(program=program.name):
                result = run("ldd", program)
                self.assertEqual(result.returncode, 0, result)
                self.assertNotRegex(result.stdout, r"lib(ssl|crypto)\.so\.[0-9]")
                self.assertNotIn("not found", result.stdout)


if __name__ == "__main__":
    unittest.main()
