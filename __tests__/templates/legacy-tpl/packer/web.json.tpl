{
  "variables": {
    "image_name": ""
  },
  "builders": [
    {
      "type": "amazon-ebs",
      "ami_name": "{{user `image_name`}}",
      "source_ami": "ami-0123456789abcdef0",
      "region": "eu-west-1",
      "instance_type": "t3.small",
      "ssh_username": "admin"
    }
  ],
  "provisioners": [
    {
      "type": "shell",
      "script": "packer/setup.sh"
    }
  ]
}
