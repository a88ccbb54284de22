//! The loop with everything around it faked: catalog and prober.
