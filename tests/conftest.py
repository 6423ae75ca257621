"""What every test here is run with."""

from hypothesis import HealthCheck, settings

# A busy core makes single examples slow, and says nothing about the code: pytest's own time limit is enough.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", patient, max_examples=60)
settings.register_profile("thorough", patient, max_examples=1000)  # pytest --hypothesis-profile=thorough
settings.load_profile("quick")
