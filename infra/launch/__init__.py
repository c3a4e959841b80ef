"""How to start the trainer on one machine, several, Slurm and Kubernetes: README.md says it in one page.

train.sbatch    a job of Slurm
train_job.yaml  a Job of Kubernetes, and the Service that its pods find each other by
hostfile        machines, as deepspeed's launcher reads them
"""
