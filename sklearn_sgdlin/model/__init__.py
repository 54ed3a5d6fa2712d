"""What is minimised: loss, penalty, scaling, sums over rows."""
