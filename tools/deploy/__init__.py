"""The chart on whatever cluster the kubeconfig names: knows how to install, ask and move it; makes no cluster."""
